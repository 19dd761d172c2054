#!/bin/sh
# After the server's files have gone. Database, keys and fragments stay until dpkg says "purge".
set -u
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
case "${1:-}" in
purge)
	# Only the user that the package made: one of the same name with another home is somebody else's.
	if [ "$(getent passwd muster | cut -d: -f6)" = /var/lib/muster-server ]; then userdel muster || true; fi
	rm -f /etc/systemd/system/multi-user.target.wants/muster-server.service
	rm -rf /var/lib/muster-server /etc/muster-server
	;;
esac
exit 0
