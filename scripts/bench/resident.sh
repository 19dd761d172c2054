#!/usr/bin/env bash
# Measures what the waiting agent costs, for IDLE (30s) after TASKS (20) deployments, beside the OCS Inventory
# agent of Debian where that can be had: its package is unpacked into a temporary folder, so that nothing of it
# is scheduled or started on this computer; only the Perl modules that it needs are installed, as root.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

modules=(perl libnet-ip-perl libproc-daemon-perl libwww-perl libxml-simple-perl)
if [ "$(id -u)" -eq 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	dpkg -s "${modules[@]}" >/dev/null 2>&1 || { apt-get update -q && apt-get install -y -q --no-install-recommends "${modules[@]}"; }
	chmod 0755 "$work"
	(cd "$work" && apt-get -q download -o APT::Sandbox::User=root ocsinventory-agent && dpkg -x ocsinventory-agent_*.deb ocs) ||
		echo "bench: the OCS Inventory agent could not be fetched; measuring without it"
	if [ -x "$work/ocs/usr/bin/ocsinventory-agent" ]; then
		export MUSTER_OCS_AGENT="$work/ocs/usr/bin/ocsinventory-agent" PERL5LIB="$work/ocs/usr/share/perl5"
	fi
fi
make programs >/dev/null
MUSTER_BIN=${MUSTER_BIN:-$PWD/bin} go test -count=1 -timeout 60m -run '^TestResident(StaysSmall|DoesNotGrow)$' -v ./scripts/e2e \
	-resident.idle "${IDLE:-30s}" -resident.tasks "${TASKS:-20}" -resident.growth "${TASKS:-20}"
