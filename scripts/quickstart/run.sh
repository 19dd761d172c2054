#!/usr/bin/env bash
# Quick start: a server, an agent and a first package on this computer, until Ctrl-C.
#
# Everything lives in .muster/; run it again and it goes on with the same data, remove the folder and it
# begins anew. Set MUSTER_PORT, MUSTER_HTTP_PORT or MUSTER_DIR for other ports or another folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

port=${MUSTER_PORT:-8443}
http_port=${MUSTER_HTTP_PORT:-8080}
dir=${MUSTER_DIR:-$PWD/.muster}
bin=${MUSTER_BIN:-$PWD/bin}
server=
agent=

die() {
	echo "make run: $*" >&2
	exit 1
}

# stop ends what this script started, the agent first, and waits for both.
stop() {
	trap - EXIT INT TERM
	for pid in $agent $server; do
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# field prints one field of the JSON on standard input.
field() { node -p "const v = JSON.parse(require('fs').readFileSync(0, 'utf8')); $1"; }

muster() { "$bin/muster" --config "$dir/muster.json" "$@"; }

check_tools() {
	for tool in go node npm git; do
		command -v "$tool" >/dev/null || die "$tool is not installed; install it and run make run again"
	done
	[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || die "Node $(node --version) is too old; install Node 20 or newer"
}

check_ports() {
	for pair in "MUSTER_PORT $port" "MUSTER_HTTP_PORT $http_port"; do
		read -r name number <<<"$pair"
		[[ $number =~ ^[0-9]+$ ]] || die "$name is \"$number\", which is not a port; write a number, for example $name=9443"
		if in_use "$number"; then
			die "port $number is in use; stop what uses it, or choose another: $name=$((number + 1000)) make run"
		fi
	done
	if [ -f "$dir/port" ] && [ "$(cat "$dir/port")" != "$port" ]; then
		die "the agent in $dir knows its server at port $(cat "$dir/port"); use MUSTER_PORT=$(cat "$dir/port") make run, or remove $dir to begin anew"
	fi
}

start_server() {
	"$bin/muster-server" serve --data "$dir/server" --listen "127.0.0.1:$port" --http "localhost:$http_port" \
		--public-url "https://127.0.0.1:$port" --admin-password-file "$dir/admin-password" >>"$dir/server.log" 2>&1 &
	server=$!
	for _ in $(seq 300); do
		kill -0 "$server" 2>/dev/null || die "the server did not start: $(tail -n 1 "$dir/server.log")"
		if in_use "$http_port" && in_use "$port" && [ -s "$dir/admin-password" ]; then
			echo "$port" >"$dir/port"
			return
		fi
		sleep 0.1
	done
	die "the server does not answer; see $dir/server.log"
}

start_agent() {
	if [ ! -f "$dir/device" ]; then
		muster enrollment-token create --name "quick start" --json | field v.enrollment >"$dir/enrollment"
		chmod 0600 "$dir/enrollment"
		"$bin/muster-agent" enroll --data "$dir/agent" --enrollment-file "$dir/enrollment"
		rm "$dir/enrollment"
		muster device list --json | field 'v[0].id' >"$dir/device"
	fi
	"$bin/muster-agent" run --data "$dir/agent" >>"$dir/agent.log" 2>&1 &
	agent=$!
}

offer_package() {
	[ ! -f "$dir/package" ] || return 0
	local id
	id=$(muster --json package create scripts/quickstart/package --name welcome --version 1.0 --action launch --no-sign -- welcome.sh | field v.id)
	muster --json package sign "$id" >/dev/null
	muster --json package activate "$id" >/dev/null
	echo "$id" >"$dir/package"
}

check_tools
check_ports
if [ -z "${MUSTER_BIN:-}" ]; then
	make build
fi
mkdir -p "$dir"
chmod 0700 "$dir"
trap stop EXIT
trap 'echo; echo "Stopping."; stop; exit 0' INT TERM

echo "Starting the server …"
start_server
if [ ! -f "$dir/muster.json" ]; then
	muster login "http://localhost:$http_port" --username admin --password-file "$dir/admin-password" >/dev/null
fi
echo "Starting the agent …"
start_agent
echo "Offering a package made of scripts/quickstart/package …"
offer_package

echo "Assigning it to this computer …"
deployment=$(muster --json assign --package "$(cat "$dir/package")" --device "$(cat "$dir/device")" | field 'v.deployments[0].id')
muster deployment watch "$deployment" || echo "It did not succeed; what happened:"
echo
muster deployment show "$deployment"

cat <<EOF

Muster is running.

  Web page   http://localhost:$http_port
  Login      admin
  Password   $(cat "$dir/admin-password")

  Agents and the command line reach it at https://127.0.0.1:$port
  Everything is kept in $dir, with logs in server.log and agent.log.

Press Ctrl-C to stop.
EOF
wait -n "$server" "$agent" || true
kill -0 "$server" 2>/dev/null || die "the server ended: $(tail -n 1 "$dir/server.log")"
die "the agent ended: $(tail -n 1 "$dir/agent.log")"
