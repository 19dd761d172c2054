#!/bin/sh
# After the server's files are there: dpkg calls it with "configure" and the version before, rpm with how
# many versions are installed now.
set -u
data=/var/lib/muster-server

service() {
	if command -v deb-systemd-invoke >/dev/null 2>&1; then
		deb-systemd-invoke "$1" muster-server.service || true
	else
		systemctl "$1" muster-server.service || true
	fi
}

case "${1:-}" in
configure | 1 | 2)
	first=no
	if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "${2:-}" ]; }; then first=yes; fi
	if ! getent passwd muster >/dev/null; then
		useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin --comment "Muster server" muster || exit 1
	fi
	mkdir -p "$data" && chown muster:muster "$data" && chmod 0700 "$data" || exit 1
	# The settings may hold the password of a database.
	chgrp muster /etc/muster-server/config.yaml && chmod 0640 /etc/muster-server/config.yaml || exit 1
	if command -v systemctl >/dev/null 2>&1 && [ "$first" = yes ]; then
		systemctl enable muster-server.service || true
	fi
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || true
		if systemctl is-enabled --quiet muster-server.service; then service restart; else service try-restart; fi
		where="https://$(uname -n):8443"
	else
		where="start it with: setpriv --reuid muster --regid muster --clear-groups muster-server serve --config /etc/muster-server/config.yaml"
	fi
	if [ "$first" = yes ]; then
		echo "muster-server: $where"
		if [ -d /run/systemd/system ]; then
			echo "muster-server: log in as admin; the password is in $data/first-password"
		fi
	fi
	;;
esac
exit 0
