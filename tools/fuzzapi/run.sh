#!/usr/bin/env bash
# Fuzzes the API from its own OpenAPI document: runs the real `countersign up` with the simulated company, and has
# schemathesis send it what the document allows and what it does not. No answer may be a server error, every answer must be
# as described, and no operation may answer without its token. usage: run.sh SECONDS
set -euo pipefail
seconds=${1:?usage: run.sh SECONDS}
cd "$(dirname -- "${BASH_SOURCE[0]}")/../.."
readonly here=tools/fuzzapi cache=$PWD/.cache/fuzzapi go=${GO:-go}

mkdir -p "$cache"
if ! cmp -s $here/requirements.txt "$cache/installed.txt"; then
	rm -rf "$cache/venv"
	python3 -m venv "$cache/venv"
	"$cache/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement $here/requirements.txt
	cp $here/requirements.txt "$cache/installed.txt"
fi
$go build -o "$cache/countersign" ./cmd/countersign

work=$(mktemp -d)
pid=
finish() {
	status=$?
	if [[ -n $pid ]] && kill "$pid" 2>/dev/null; then wait "$pid" || true; fi
	if ((status)); then cp "$work"/up.log "$cache/up.log" 2>/dev/null && echo "the log of countersign is in $cache/up.log" >&2; fi
	rm -rf "$work"
}
trap finish EXIT

token=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
(umask 077 && printf '%s\n' "$token" >"$work/token")
cat >"$work/config.yaml" <<YAML
api:
  tokens:
    - {name: fuzz, file: $work/token, tenants: ["*"], role: admin}
  # It is to find what breaks, not what is refused because there is too much of it.
  requests_per_second: 100000
  request_burst: 1000000
  max_questions: 16
  question_wait: 10s
YAML
"$cache/countersign" up --demo --random-ports --data "$work/data" --config "$work/config.yaml" --users 40 --history 1 >"$work/up.log" 2>&1 &
pid=$!
for ((i = 0; i < 600; i++)); do
	base=$(sed -n 's|^ *look *\(http://[^/]*\)/.*|\1|p' "$work/up.log")
	[[ -z $base ]] || break
	kill -0 "$pid" 2>/dev/null || { cat "$work/up.log" >&2; exit 1; }
	sleep 0.1
done
[[ -n $base ]] || { echo "countersign did not start within a minute" >&2; exit 1; }

# The token is in a file of its own, so that no list of processes shows it.
cat >"$work/schemathesis.toml" <<TOML
headers = { Authorization = "Bearer $token" }
TOML
chmod 600 "$work/schemathesis.toml"
"$cache/venv/bin/python" - "$base" "$work/token" "$work/openapi.json" <<'PYTHON'
import json, sys, urllib.request
base, token, out = sys.argv[1:]
request = urllib.request.Request(base + "/v1/openapi.json", headers={"Authorization": "Bearer " + open(token).read().strip()})
document = json.load(urllib.request.urlopen(request, timeout=30))
json.dump(document, open(out, "w"))
PYTHON

# One worker: Python 3.11 breaks now and then when two of its threads make syntax trees.
cd "$work" # it leaves notes where it runs
"$cache/venv/bin/python" "$cache/venv/bin/st" --config-file "$work/schemathesis.toml" run "$work/openapi.json" --url "$base" \
	--checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,ignored_auth \
	--phases examples,coverage,fuzzing --workers 1 --max-time "$seconds" --request-timeout 30 --generation-database none --no-color \
	--seed "${FUZZAPI_SEED:-$RANDOM}" \
	--suppress-health-check all --report json --report-json-path "$cache/report.json"
# The time may end before the last operation has had its turn: then it has not been tested.
"$cache/venv/bin/python" - "$cache/report.json" "$work/openapi.json" <<'PYTHON'
import json, sys
report, document = (json.load(open(name)) for name in sys.argv[1:])
methods = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
described = sum(len(methods & set(path)) for path in document["paths"].values())
tested = report["operations"]["tested"]
if tested < described:
    print(f"the time ended before {described - tested} of {described} operations were tested: give it more (FUZZAPI_SECONDS)", file=sys.stderr)
print(f"{tested} passed, {max(0, described - tested)} failed")
sys.exit(tested < described)
PYTHON
