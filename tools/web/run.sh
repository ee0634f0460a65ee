#!/bin/sh
# Runs the browser smoke test on bin/countersign (`make test-web` builds it). Without a Chromium it says so and does
# nothing, unless CI_REQUIRE_SERVICES=1 makes that an error. Its driver comes from npm, pinned, once.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)

found=
for browser in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
	[ -z "$browser" ] || [ ! -x "$browser" ] || found=$browser
done
missing=
[ -n "$found" ] || missing="a Chromium (Debian: chromium; or name one in CHROMIUM)"
command -v npm >/dev/null 2>&1 || missing="${missing:+$missing and }Node.js with npm"
if [ -n "$missing" ]; then
	if [ "${CI_REQUIRE_SERVICES:-}" = 1 ]; then
		echo "test-web needs $missing" >&2
		exit 1
	fi
	echo "skipped: test-web needs $missing" >&2
	exit 0
fi

cd "$here"
cmp -s package-lock.json node_modules/.locked || {
	npm ci --ignore-scripts --no-progress --loglevel=error >&2
	cp package-lock.json node_modules/.locked
}
exec node smoke.mjs "$root/bin/countersign" "$root/.cache/web"
