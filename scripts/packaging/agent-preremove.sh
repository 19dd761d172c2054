#!/bin/sh
# Before the agent's files go: dpkg says "remove", rpm 0. At an upgrade nothing is stopped: the new version
# restarts the agent. A command that the agent has begun goes on to its end.
set -u
case "${1:-}" in
remove | 0)
	if [ "$1" = 0 ] && command -v systemctl >/dev/null 2>&1; then
		systemctl --no-reload disable muster-agent.service || true
	fi
	/usr/bin/muster-agent service stop || true
	;;
esac
exit 0
