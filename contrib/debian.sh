#!/bin/sh
# Unpacks packages of another Debian release, so that their programs run here: debian.sh RELEASE PACKAGE...
#
# They lie in target/debian/RELEASE with the libraries that they load, their own libc too, and find them by their own
# paths: no wrapper, since HAProxy's master starts itself anew. Nothing of the system is changed. The mirror and the way
# to it (proxies) are those of the system's apt. Done already: nothing is asked.
set -eu

release=$1
shift
here=$(cd "$(dirname "$0")/.." && pwd)
root=$here/target/debian/$release
stamp="$root: $*"
test "$(cat "$root/stamp" 2>/dev/null)" != "$stamp" || exit 0

fail() {
    echo "No packages of Debian $release: $1" >&2
    exit 1
}

for program in apt-get dpkg-deb patchelf; do
    command -v $program >/dev/null || fail "$program is missing"
done
# shellcheck disable=SC2016 # apt's variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Component: main' 'Identifier: Packages' | sort -u | head -n 1)
test -n "$mirror" || fail "apt knows no mirror of Debian (apt-get update)"

mkdir -p "$here/target/debian"
work=$(mktemp -d "$here/target/debian/.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists" "$work/cache" "$work/packages" "$work/root"
: >"$work/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$work/sources.list"

# apt as the system has it, on a system that has nothing yet and is not this one.
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache" \
        -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" -o APT::Update::Error-Mode=any \
        -o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false "$@" 2>"$work/said"
}
refused() {
    fail "$1: $(grep -m 1 '^[EW]:' "$work/said" || echo "apt-get gives no reason")"
}

echo "Unpacking $* of Debian $release"
apt update >/dev/null || refused "$mirror does not give its lists"
wanted=$(apt --print-uris install "$@") || refused "$mirror does not have them"
# Of what they depend on, only what they load.
libraries=$(echo "$wanted" | awk '{ sub(/_.*/, "", $2); print $2 }' | grep -E '^(lib|zlib)')
# shellcheck disable=SC2086 # a list of packages
(cd "$work/packages" && apt download $libraries "$@" >/dev/null) || refused "$mirror does not give them"
for package in "$work"/packages/*.deb; do
    dpkg-deb -x "$package" "$work/root"
done

loader=$(cd "$work/root" && find . -path './*lib/*-linux-*/ld-linux*' | head -n 1)
test -n "$loader" || fail "there is no loader of programs in them"
loader=${loader#.}
triplet=$(basename "$(dirname "$loader")")
lib="$root/usr/lib/$triplet"
for program in "$work"/root/usr/bin/* "$work"/root/usr/sbin/*; do
    # What has no loader is a script, or needs none.
    patchelf --print-interpreter "$program" >/dev/null 2>&1 || continue
    # systemd keeps some of its libraries in a directory of its own.
    patchelf --set-interpreter "$root$loader" --force-rpath --set-rpath "$lib:$root/lib/$triplet:$lib/systemd" "$program"
done
echo "$stamp" >"$work/root/stamp"
rm -rf "$root"
mv "$work/root" "$root"
