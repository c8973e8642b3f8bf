#!/bin/sh
# Unpacks what the test of docs/tutorial.md needs of this Debian release below target/debian/tutorial: Galera with its server's
# scripts, rsync, and PHP as a module of Apache with its client of MySQL. Their packages would start servers. Nothing is
# installed. Done already: nothing is asked.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)/target/debian/tutorial
test ! -d "$root" || exit 0

fail() {
    echo "No programs for the tutorial: $1" >&2
    exit 1
}

for program in apt-get dpkg-deb php; do
    command -v $program >/dev/null || fail "$program is missing"
done
# Such as php8.2.
php=$(basename "$(readlink -f "$(command -v php)")")
mkdir -p "$(dirname "$root")"
work=$(mktemp -d "$(dirname "$root")/.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "Unpacking Galera and PHP's module"
(cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download galera-4 mariadb-server mariadb-client-core rsync libpopt0 \
    "libapache2-mod-$php" "$php-mysql" >/dev/null 2>said) ||
    fail "apt-get does not give the packages: $(grep -m 1 '^E:' "$work/said" || echo "apt-get update may help")"
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root"
done
mv "$work/root" "$root"
