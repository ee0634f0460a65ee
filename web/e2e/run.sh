#!/bin/sh
# The dashboard's tests on bin/countersign (`make test-web` builds it): units with Vitest, then a headless Chromium with a
# demo behind it. Arguments go to Playwright: a file, -g TITLE. Without a Chromium it says so and does nothing, unless
# CI_REQUIRE_SERVICES=1 makes that an error. The last line counts.
set -eu
cd "$(dirname -- "$0")/.."

for browser in "${CHROMIUM:-}" /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome; do
	[ -z "$browser" ] || [ ! -x "$browser" ] || { CHROMIUM=$browser; break; }
done
if [ ! -x "${CHROMIUM:-}" ]; then
	echo "${CI_REQUIRE_SERVICES:+error: }test-web needs a Chromium (Debian: chromium; or name one in CHROMIUM)" >&2
	[ "${CI_REQUIRE_SERVICES:-}" != 1 ]
	exit
fi
export CHROMIUM PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1
units=0
[ $# -gt 0 ] || { npx --no-install vitest run --reporter=dot --reporter=json --outputFile.json="${TMPDIR:-/tmp}/countersign-units.$$.json" || units=$?; }
UNITS="${TMPDIR:-/tmp}/countersign-units.$$.json" npx --no-install playwright test "$@" || exit 1
exit $units
