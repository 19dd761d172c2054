#!/bin/sh
# Before the server's files go: dpkg says "remove", rpm 0.
set -u
case "${1:-}" in
remove | 0)
	if [ "$1" = 0 ] && command -v systemctl >/dev/null 2>&1; then
		systemctl --no-reload disable muster-server.service || true
	fi
	if [ -d /run/systemd/system ]; then systemctl stop muster-server.service || true; fi
	;;
esac
exit 0
