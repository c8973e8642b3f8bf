#!/bin/sh
# Installs the Debian packages that are missing: install.sh NAME:PACKAGE...
# NAME is a program, or the path of a file, that the package brings.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in "$@"; do
    name=${pair%:*}
    package=${pair##*:}
    case $name in
        /*) test -e "$name" || missing="$missing $package" ;;
        *) command -v "$name" >/dev/null || missing="$missing $package" ;;
    esac
done
test -n "$missing" || exit 0

if ! command -v apt-get >/dev/null; then
    echo "These Debian packages, or what your system has in their place, are needed:$missing" >&2
    exit 1
fi
run=
if test "$(id -u)" -ne 0; then
    command -v sudo >/dev/null || { echo "Run as root: apt-get install$missing" >&2; exit 1; }
    run=sudo
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
# What is installed here is started by those who asked for it, not by the system.
policy=/usr/sbin/policy-rc.d
if test ! -e $policy; then
    printf '#!/bin/sh\nexit 101\n' | $run tee $policy >/dev/null
    $run chmod 755 $policy
    trap '$run rm -f $policy' EXIT
fi
$run apt-get -qq update
# shellcheck disable=SC2086 # a list of packages
$run env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
