#!/bin/sh
# Unpacks Prometheus and promtool of this Debian release below target/debian/prometheus, for the tests of the metrics. Their
# package depends on 300 MB that they do not need; the programs alone are 20 MB. Nothing is installed. Done already: nothing
# is asked.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)/target/debian/prometheus
test ! -x "$root/usr/bin/promtool" || exit 0

fail() {
    echo "No Prometheus: $1" >&2
    exit 1
}

for program in apt-get dpkg-deb; do
    command -v $program >/dev/null || fail "$program is missing"
done
mkdir -p "$(dirname "$root")"
work=$(mktemp -d "$(dirname "$root")/.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Unpacking prometheus"
(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download prometheus >/dev/null 2>said) ||
    fail "apt-get does not give the package: $(grep -m 1 '^E:' "$work/said" || echo "apt-get update may help")"
dpkg-deb -x "$work"/prometheus_*.deb "$work/root"
rm -rf "$root"
mv "$work/root" "$root"
