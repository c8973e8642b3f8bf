#!/bin/sh
# A clean Debian as an archive that Docker imports, with what a package is tried on: root.sh RELEASE PACKAGE...
#
# It lies in target/debian/RELEASE.tar. The mirror is that of the system's apt. Done already: nothing is asked.
set -eu

release=$1
shift
packages=$(echo "$*" | tr ' ' ,)
here=$(cd "$(dirname "$0")/.." && pwd)
archive=$here/target/debian/$release.tar
stamp=$here/target/debian/$release.tar.packages
test "$(cat "$stamp" 2>/dev/null)" != "$packages" || exit 0

if test "$(id -u)" -ne 0 || ! command -v debootstrap >/dev/null; then
    echo "No clean Debian $release: debootstrap is not there, or this is not root" >&2
    exit 1
fi
# shellcheck disable=SC2016 # apt's variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Component: main' 'Identifier: Packages' | sort -u | head -n 1)
mkdir -p "$here/target/debian"
work=$(mktemp -d "$here/target/debian/.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Unpacking a clean Debian $release"
debootstrap --variant=minbase --include="$packages" "$release" "$work/root" "$mirror" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; exit 1; }
# Without a word in this file systemd takes the start for the first one, and asks questions.
: >"$work/root/etc/machine-id"
rm -rf "$work"/root/var/cache/apt/archives/*.deb
tar -C "$work/root" -cf "$work/tar" .
mv "$work/tar" "$archive"
echo "$packages" >"$stamp"
