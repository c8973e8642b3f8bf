#!/bin/sh
# Makes a Debian package of a binary that is built, in target/debian: deb.sh BINARY [VERSION [--fast]]
set -eu

binary=$1
cd "$(dirname "$0")/.."
tree=target/package/root
rm -rf "$tree"
DESTDIR=$PWD/$tree PREFIX=/usr SYSCONFDIR=/etc contrib/make-install.sh install "$binary"
mkdir -p target/debian
version=${2:-$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml)}
# In the form that Debian's tools read; what has changed is told in the project's own.
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
date=$(git log -1 --format=%cD 2>/dev/null || date -R)
printf '%s\n\n  * %s\n\n -- %s  %s\n' "etcd-sidekick ($version) unstable; urgency=medium" \
    "CHANGELOG.md in this directory says what has changed." "$maintainer" "$date" |
    gzip -9nc >"$tree/usr/share/doc/etcd-sidekick/changelog.gz"
package=target/debian/etcd-sidekick_${version}_$(dpkg --print-architecture).deb
# --fast: larger, for tests.
# shellcheck disable=SC2086 # one word or none
cargo deb --quiet --no-build --no-strip --locked ${3:-} --deb-version "$version" --output "$package" >/dev/null
echo "$package"
