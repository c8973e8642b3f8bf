#!/bin/sh
# Makes a Debian package of a binary that is built, in target/debian: deb.sh BINARY [VERSION [--fast]]
set -eu

binary=$1
cd "$(dirname "$0")/.."
tree=target/package/root
rm -rf "$tree"
DESTDIR=$PWD/$tree PREFIX=/usr SYSCONFDIR=/etc contrib/make-install.sh install "$binary"
# Debian's tools look for it by this name. changelog.Debian.gz would have to be in Debian's own format.
gzip -9nc CHANGELOG.md >"$tree/usr/share/doc/etcd-sidekick/changelog.gz"
mkdir -p target/debian
version=${2:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)}
package=target/debian/etcd-sidekick_${version}_$(dpkg --print-architecture).deb
# --fast: larger, for tests.
# shellcheck disable=SC2086 # one word or none
cargo deb --quiet --no-build --no-strip --locked ${3:-} --deb-version "$version" --output "$package" >/dev/null
echo "$package"
