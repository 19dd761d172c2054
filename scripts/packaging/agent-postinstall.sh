#!/bin/sh
# After the agent's files are there: dpkg calls it with "configure" and the version before, rpm with how many
# versions are installed now. Nothing here may fail the installation: a device that cannot be enrolled, or
# started, now is still better off with its agent.
set -u
data=/var/lib/muster-agent
given=/etc/muster-agent/enrollment

# Enrollment strings come from MUSTER_ENROLLMENT or from a file that was laid down before. They are secrets:
# printf is part of the shell, so that no process ever has them among its arguments. The agent tries the
# lines of the file in its data directory, for as long as it takes, and removes them.
keep_enrollment() {
	[ -n "${MUSTER_ENROLLMENT:-}" ] || [ -s "$given" ] || return 0
	(
		umask 077
		{
			[ ! -f "$data/enrollment" ] || cat "$data/enrollment"
			[ -z "${MUSTER_ENROLLMENT:-}" ] || printf '%s\n' "$MUSTER_ENROLLMENT"
			[ ! -s "$given" ] || { cat "$given" && echo; }
		} >"$data/enrollment.new" && mv -f "$data/enrollment.new" "$data/enrollment" && sync
	) && rm -f "$given" && rmdir /etc/muster-agent 2>/dev/null
	return 0
}

# Programs that may not start anything now, as those that make images, say so by policy-rc.d.
service() {
	if command -v deb-systemd-invoke >/dev/null 2>&1; then
		deb-systemd-invoke "$1" muster-agent.service || true
	else
		systemctl "$1" muster-agent.service || true
	fi
}

start() { # first installation: yes or no
	if command -v systemctl >/dev/null 2>&1 && [ "$1" = yes ]; then
		systemctl enable muster-agent.service || true
	fi
	if [ -d /run/systemd/system ]; then
		systemctl daemon-reload || true
		if systemctl is-enabled --quiet muster-agent.service; then
			service restart
		else
			service try-restart
		fi
	elif [ "$1" = yes ]; then
		echo "muster-agent: systemd does not run here; start the agent with: muster-agent run"
	fi
}

case "${1:-}" in
configure | 1 | 2)
	first=no
	if [ "$1" = 1 ] || { [ "$1" = configure ] && [ -z "${2:-}" ]; }; then first=yes; fi
	mkdir -p "$data" && chmod 0700 "$data"
	keep_enrollment
	start "$first"
	;;
esac
exit 0
