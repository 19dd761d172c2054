# For the scripts beside: a muster-server of their own on 127.0.0.1, in a folder that is removed at the end.
# Each stops only what it has started, by its number.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/muster-bench-XXXXXX")

# finish stops what was started and still runs, and removes the folder. The shell knows which jobs are its own; a
# number that was noted down may have become somebody else's.
finish() {
	local pid
	for pid in $(jobs -pr); do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap finish EXIT

# build_programs builds the programs that the scripts need.
build_programs() {
	(cd "$top" && CGO_ENABLED=0 go build -trimpath -o "$work/" ./server ./packages/muster ./scripts/loadgen)
}

# start_server starts the server on the given port, with further flags; it serves people on the next one.
start_server() {
	local port=$1
	shift
	admin=http://localhost:$((port + 1)) password=$work/password url=https://127.0.0.1:$port
	"$work/server" serve --data "$work/data" --listen "127.0.0.1:$port" --http "localhost:$((port + 1))" \
		--admin-password-file "$password" "$@" >>"$work/server.log" 2>&1 &
	server=$!
	local n
	for n in $(seq 200); do
		if [ -s "$password" ] && curl -sf "$admin/readyz" >/dev/null; then
			return 0
		fi
		if ! kill -0 "$server" 2>/dev/null; then
			break
		fi
		sleep 0.1
	done
	cat "$work/server.log" >&2
	echo "bench: the server does not answer" >&2
	return 1
}

# stop_server ends the server and waits for it.
stop_server() {
	kill "$server"
	wait "$server" || true
}

# muster runs the command line, logged in to the server.
muster() {
	if [ ! -e "$work/muster.json" ]; then
		"$work/muster" --config "$work/muster.json" login "$admin" --username admin --password-file "$password" >/dev/null
	fi
	"$work/muster" --config "$work/muster.json" "$@"
}
