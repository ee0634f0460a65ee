#!/bin/sh
# Runs every fuzz target of the module one after the other: fuzz.sh TIME (as of go test -fuzztime). Go fuzzes one target of
# one package at a time. A crash stops it; the input is kept below the package's testdata/fuzz.
set -eu

time=${1:?usage: fuzz.sh TIME}
go=${GO:-go}
cd "$(dirname -- "$0")/.."

found=0
for package in $($go list ./...); do
	dir=$($go list -f '{{.Dir}}' "$package")
	targets=$(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p')
	for target in $targets; do
		found=$((found + 1))
		echo "$package $target"
		$go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$package"
	done
done
echo "$found fuzz targets ran for $time each"
