#!/usr/bin/env bash
# Finds every fuzz target of the module and runs each for FUZZTIME (60s).
set -euo pipefail
cd "$(dirname "$0")/.."

found=0
while IFS=: read -r file line; do
	target=${line#func }
	target=${target%%(*}
	found=$((found + 1))
	echo "== $target in $(dirname "$file")"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" "./$(dirname "$file")"
done < <(git ls-files -co --exclude-standard '*_test.go' | xargs grep -HE '^func Fuzz[A-Z][A-Za-z0-9_]*\(f \*testing\.F\)' || true)
echo "$found fuzz targets ran"
