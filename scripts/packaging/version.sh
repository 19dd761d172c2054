#!/bin/sh
# version.sh VERSION: a version of `git describe` as dpkg and rpm order it. What comes before a release gets
# a tilde, what comes after it a plus; neither knows semver's hyphen.
#
#   v0.1.0-dev+abc → 0.1.0~dev+abc     v0.1.0-5-gabc-dirty → 0.1.0+5.gabc.dirty     v1.0.0-rc.1 → 1.0.0~rc.1
set -eu
version=$(printf '%s\n' "$1" | sed -E \
	-e 's/^v//' \
	-e 's/-dirty$/+dirty/' \
	-e 's/-([0-9]+)-(g[0-9a-f]+)/+\1.\2/' \
	-e 's/^([0-9.]+)-/\1~/' \
	-e 's/-/./g' \
	-e ':again' -e 's/(\+.*)\+/\1./' -e 't again')
case $version in
[0-9]*) ;;
*) echo "version.sh: \"$1\" does not begin with a number; a tag is like v1.2.3" >&2; exit 1 ;;
esac
case $version in
*[!A-Za-z0-9.+~]*) echo "version.sh: \"$1\" holds what no package version may hold" >&2; exit 1 ;;
esac
printf '%s\n' "$version"
