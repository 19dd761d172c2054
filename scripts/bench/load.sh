#!/usr/bin/env bash
# A server under the load of simulated devices: memory per connected device, wakeups, check-ins, reports, a
# restart. A few hundred devices by default, in less than two minutes. Both programs share this computer.
# DEVICES=300 SECONDS_EACH=5 SETTLE=35 PORT=29543; OVERLOAD=60 offers twice the capacity for so many seconds;
# KEEP=yes keeps the connection of check-ins open, which agents do not. DATABASE=URL for another than SQLite.
set -euo pipefail
. "$(dirname "$0")/lib/server.bash"
devices=${DEVICES:-300} length=${SECONDS_EACH:-5} settle=${SETTLE:-35} port=${PORT:-29543}

build_programs
start_server "$port" ${DATABASE:+--database "$DATABASE"}
load=("$work/loadgen" --admin "$admin" --password-file "$password" --devices "$devices" --settle "${settle}s" --pid "$server")
if [ -n "${KEEP:-}" ]; then load+=(--keep); fi

echo "$devices devices"
"${load[@]}" --duration "${length}s" memory idle handshakes wake deploy checkins reports
if [ -n "${OVERLOAD:-}" ]; then
	"${load[@]}" --duration "${OVERLOAD}s" connect overload
fi

# The restart is this script's part.
"${load[@]}" connect reconnect >"$work/reconnect.out" 2>"$work/reconnect.err" &
loading=$!
until grep -q 'restart the server now' "$work/reconnect.err"; do
	kill -0 "$loading" 2>/dev/null || { cat "$work/reconnect.err" >&2; exit 1; }
	sleep 0.1
done
stop_server
start_server "$port" ${DATABASE:+--database "$DATABASE"}
wait "$loading" || { cat "$work/reconnect.err" "$work/reconnect.out" >&2; exit 1; }
sed -n '/^reconnect/,$p' "$work/reconnect.out"
