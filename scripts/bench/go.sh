#!/usr/bin/env bash
# Every Go benchmark: what one check-in, one report, one wakeup, one journal entry costs by itself.
# BENCH=REGEXP for some of them.
set -euo pipefail
cd "$(dirname "$0")/../.."
go test -run '^$' -bench "${BENCH:-.}" -benchmem $(go list ./... | grep -v -e /scripts/e2e -e /node_modules/) | grep -v -e '\[no test files\]' -e '^ok ' -e '^PASS$'
