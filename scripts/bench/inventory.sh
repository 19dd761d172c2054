#!/usr/bin/env bash
# A full inventory of this computer, beside those of the OCS Inventory and FusionInventory agents of Debian where
# they can be had: what each finds, with every difference explained, and what each costs. Their packages are
# unpacked into a temporary folder, so that nothing of them is scheduled or started on this computer; only the
# Perl modules and tools that they need are installed, as root.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

needed=(perl ucf libnet-cups-perl libnet-ip-perl libwww-perl libparse-edid-perl libproc-daemon-perl libuniversal-require-perl
	libfile-which-perl libxml-treepp-perl libxml-xpath-perl libxml-simple-perl libyaml-perl libyaml-tiny-perl libtext-template-perl
	libhttp-daemon-perl libsocket-getaddrinfo-perl pciutils pci.ids usbutils usb.ids dmidecode hdparm fdisk net-tools)
if [ "$(id -u)" -eq 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	dpkg -s "${needed[@]}" >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q --no-install-recommends "${needed[@]}"; }
	chmod 0755 "$work"
	for agent in ocsinventory-agent fusioninventory-agent; do
		(cd "$work" && apt-get -q download -o APT::Sandbox::User=root "$agent" && dpkg -x "$agent"_*.deb "$agent") ||
			echo "bench: $agent could not be fetched; measuring without it"
	done
	if [ -x "$work/ocsinventory-agent/usr/bin/ocsinventory-agent" ]; then
		export MUSTER_OCS_AGENT="$work/ocsinventory-agent/usr/bin/ocsinventory-agent" PERL5LIB="$work/ocsinventory-agent/usr/share/perl5"
	fi
	fusion="$work/fusioninventory-agent"
	if [ -x "$fusion/usr/bin/fusioninventory-agent" ]; then
		# It knows its folders by their full names.
		grep -rlE '/usr/share/fusioninventory|/etc/fusioninventory|/var/lib/fusioninventory' "$fusion/usr/bin" "$fusion/usr/share/fusioninventory/lib" |
			xargs sed -i "s#/usr/share/fusioninventory#$fusion/usr/share/fusioninventory#g
				s#/etc/fusioninventory#$fusion/etc/fusioninventory#g
				s#/var/lib/fusioninventory-agent#$fusion/var#g"
		mkdir -p "$fusion/etc/fusioninventory" "$fusion/var"
		touch "$fusion/etc/fusioninventory/agent.cfg"
		export MUSTER_FUSION_AGENT="$fusion/usr/bin/fusioninventory-agent"
	fi
fi
make programs >/dev/null
MUSTER_BIN=${MUSTER_BIN:-$PWD/bin} go test -count=1 -timeout 10m -run '^TestInventory_(besideOthers|ofThisComputer)$' -v ./scripts/e2e -inventory.peers
