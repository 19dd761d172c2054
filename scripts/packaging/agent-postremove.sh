#!/bin/sh
# After the agent's files have gone. Its data stays, with the device's identity, until dpkg says "purge".
set -u
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
case "${1:-}" in
purge)
	rm -f /etc/systemd/system/multi-user.target.wants/muster-agent.service
	rm -rf /var/lib/muster-agent /etc/muster-agent
	;;
esac
exit 0
