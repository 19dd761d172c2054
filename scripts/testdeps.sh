#!/usr/bin/env bash
# What `make test` needs beyond Go, Node, make, git and gcc. On Debian as root it is installed, with no
# service started; elsewhere what is missing is named, and the tests that need it are skipped by name
# (with CI=true a skip is a failure).
set -euo pipefail

# package, and a file that shows that it is there
needed=(
	"mariadb-server mariadbd the database tests on MariaDB"
	"chromium chromium the web page in a real browser"
	"debootstrap debootstrap the chroot into which a Debian package is installed"
	"iproute2 ip tests that cut the network"
	"systemd systemd-analyze checks of the service units"
	"rpm rpm reading the packages for systems with rpm"
)

missing=()
for item in "${needed[@]}"; do
	read -r package program why <<<"$item"
	if ! PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null; then
		missing+=("$package")
		echo "testdeps: $program is not there; needed for $why (Debian package $package)"
	fi
done
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null || [ ! -f /etc/debian_version ]; then
	echo "testdeps: install these and run make test again: ${missing[*]}"
	if [ "${CI:-}" = true ]; then exit 1; fi
	exit 0
fi

# A package's own start script must not start a database or anything else on this computer.
if [ ! -e /usr/sbin/policy-rc.d ]; then
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 0755 /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
