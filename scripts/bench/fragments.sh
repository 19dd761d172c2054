#!/usr/bin/env bash
# Fragments over TLS 1.3, beside nginx on the same files, with a key of the same kind and the same client, one
# after the other in several rounds. What counts is the CPU time of the server's own processes per GB.
# SECONDS_EACH=10 ROUNDS=3 PORT=29443
set -euo pipefail
. "$(dirname "$0")/lib/server.bash"
length=${SECONDS_EACH:-5} rounds=${ROUNDS:-2} port=${PORT:-29443}

PATH=$PATH:/usr/sbin
if ! command -v nginx >/dev/null || ! command -v openssl >/dev/null; then
	echo "bench: nginx or openssl is not installed (Debian: nginx-light); Muster's own figures follow alone"
fi
build_programs
start_server "$port"

# 64 fragments of 1 MB that do not compress.
head -c 67108864 /dev/urandom >"$work/payload.bin"
mkdir "$work/payload" && mv "$work/payload.bin" "$work/payload/"
muster package create "$work/payload" --name payload --version 1 --action store --store-path /opt/payload --activate --yes >/dev/null 2>&1
find "$work/data/blobs" -type f -size +1000k -printf '%f\n' >"$work/digests"
sed 's#^#/agent/v1/fragments/#' "$work/digests" >"$work/paths.muster"
sed -E 's#^(..)#/\1/\1#' "$work/digests" >"$work/paths.nginx"
echo "$(wc -l <"$work/digests") fragments of 1 MB, $length s each, $rounds rounds"

pids=
if command -v nginx >/dev/null && command -v openssl >/dev/null; then
	mkdir "$work/nginx"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=bench \
		-addext subjectAltName=IP:127.0.0.1 -keyout "$work/nginx/key.pem" -out "$work/nginx/cert.pem" 2>/dev/null
	cat >"$work/nginx/nginx.conf" <<CONF
daemon off;
user $(id -un) $(id -gn);
worker_processes auto;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	types { }
	default_type application/octet-stream;
	keepalive_requests 1000000;
	client_body_temp_path $work/nginx/body;
	proxy_temp_path $work/nginx/proxy;
	fastcgi_temp_path $work/nginx/fastcgi;
	uwsgi_temp_path $work/nginx/uwsgi;
	scgi_temp_path $work/nginx/scgi;
	server {
		listen 127.0.0.1:$((port + 2)) ssl;
		root $work/data/blobs;
		ssl_protocols TLSv1.3;
		ssl_certificate $work/nginx/cert.pem;
		ssl_certificate_key $work/nginx/key.pem;
	}
}
CONF
	nginx -e "$work/nginx/error.log" -p "$work/nginx" -c "$work/nginx/nginx.conf" &
	master=$!
	for _ in $(seq 100); do
		pids=$(pgrep -P "$master" | tr '\n' ' ') || true
		[ -n "$pids" ] && curl -s --cacert "$work/nginx/cert.pem" "https://127.0.0.1:$((port + 2))/" >/dev/null && break
		sleep 0.1
	done
fi

# one measures one server: name, address, CA, paths, processes. It prints CPU per GB and files per second.
one() {
	local name=$1 flags=() pid out
	for pid in $5; do flags+=(--pid "$pid"); done
	out=$("$work/loadgen" fetch --server "$2" --ca-file "$3" --paths "$4" --parallel 4 --duration "${length}s" "${flags[@]}")
	awk -v name="$name" '/server CPU per GB/ {cpu = $(NF-1)} / rate / {rate = $(NF-1)} /loadgen CPU/ {own = $(NF-1)}
		/not served/ {failed = $0} END {printf "%-8s %7.3f s of CPU per GB %8.0f fragments/s   loadgen %.1f s of CPU %s\n", name, cpu, rate, own, failed}' <<<"$out" | tee -a "$work/figures"
}
for _ in $(seq "$rounds"); do
	one muster "$url" "$work/data/tls/ca.crt" "$work/paths.muster" "$server"
	[ -n "$pids" ] && one nginx "https://127.0.0.1:$((port + 2))" "$work/nginx/cert.pem" "$work/paths.nginx" "$pids"
done
awk '{cpu[$1] += $2; rate[$1] += $8; n[$1]++} END {if (n["nginx"]) printf "muster against nginx: %.2f times the CPU per GB, %.2f times the fragments per second\n",
	cpu["muster"]/n["muster"]/(cpu["nginx"]/n["nginx"]), rate["muster"]/n["muster"]/(rate["nginx"]/n["nginx"])}' "$work/figures"
