#!/bin/sh
# The quick start's package. It needs no privilege and changes nothing: it looks around and says hello.
set -eu
here=$(dirname "$0")

cat "$here/greeting.txt"
echo
echo "I am running on $(uname -n) ($(uname -s) $(uname -m)) as $(id -un),"
echo "in a private folder that goes away when I am done."
exit 0
