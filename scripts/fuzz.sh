#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME (60s), one after another, and prints a table of what each
# did. A find does not stop the others: all are named at the end, and the run fails. Go keeps the input of a
# find as testdata/fuzz/TARGET/NAME beside the test; commit it with the fix, and `go test` tries it for ever.
#
#   scripts/fuzz.sh [PATTERN]     only targets whose "folder Target" matches the extended regular expression
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-60s} pattern=${1:-.}
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
# Many targets make files; what they sync need not reach a disk. Builds do not fit into the memory of a container.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm GOTMPDIR="${GOTMPDIR:-/tmp}"; fi

targets=$(git ls-files -co --exclude-standard '*_test.go' |
	xargs grep -oHE '^func Fuzz[A-Z][A-Za-z0-9_]*\(f \*testing\.F\)' |
	sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*).*|\1 \2|' | sort | grep -E -- "$pattern" || true)
if [ -z "$targets" ]; then
	echo "no fuzz target matches $pattern" >&2
	exit 2
fi

finds=0 ran=0
printf '%-6s %-42s %-24s %12s %8s\n' result folder target inputs new
while read -r folder target; do
	ran=$((ran + 1))
	result=ok
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 5s "./$folder" >"$log/$ran" 2>&1 </dev/null || result=FIND
	last=$(grep -oE 'execs: [0-9]+ .*new interesting: [0-9]+' "$log/$ran" | tail -1 || true)
	inputs=$(sed -E 's/execs: ([0-9]+).*/\1/' <<<"$last") new=${last##*: }
	printf '%-6s %-42s %-24s %12s %8s\n' "$result" "$folder" "$target" "${inputs:-0}" "${new:-0}"
	if [ "$result" = FIND ]; then
		finds=$((finds + 1))
		mv "$log/$ran" "$log/find-$finds"
	fi
done <<<"$targets"

echo "$ran fuzz targets, $time each: $finds finds"
for n in $(seq 1 "$finds"); do
	echo
	cat "$log/find-$n"
done
exit $((finds > 0))
