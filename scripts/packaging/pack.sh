#!/bin/sh
# pack.sh VERSION ARCH PROGRAMS OUT [agent|server][.deb|.rpm]...: packs what was built in the folder PROGRAMS for
# ARCH (amd64, arm64) into the folder OUT; without names agent and server, without format as .deb and .rpm. VERSION is as `git describe` says it. The same files
# give the same packages: their times are that of the commit. PACK_COMPRESSION=none saves tests the time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$1 arch=$2 programs=$(cd "$3" && pwd) out=$4
shift 4
[ $# -gt 0 ] || set -- agent server
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here/../.."

PACKAGE_VERSION=$("$here/version.sh" "$version")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
ARCH=$arch PROGRAMS=$programs
export PACKAGE_VERSION SOURCE_DATE_EPOCH ARCH PROGRAMS
for what in "$@"; do
	case $what in
	*.*) formats=${what#*.} ;;
	*) formats="deb rpm" ;;
	esac
	for format in $formats; do
		sed "s/^  compression: gzip.*/  compression: ${PACK_COMPRESSION:-gzip}/" "$here/${what%.*}.yaml" |
			.tools/nfpm package --config - --packager "$format" --target "$out/" >/dev/null
	done
done
