#!/bin/sh
# What `make install` and `make uninstall` do: make-install.sh install|uninstall [BINARY]
#
# PREFIX (/usr/local) is where programs go, SYSCONFDIR (/etc) where configuration goes; both lie below DESTDIR, which is
# empty, or the root of a package that is being made.
set -eu

job=$1
binary=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
bin=$root$prefix/bin
lib=$root$prefix/lib
share=$root$prefix/share
doc=$share/doc/etcd-sidekick
config=$root${SYSCONFDIR:-/etc}/sidekick

# put MODE FROM TO: a file that belongs to the program.
put() {
    install -D -m "$1" "$2" "$3"
}

# configure FROM TO: a file that belongs to the operator from now on.
configure() {
    test -e "$2" || install -D -m 644 "$1" "$2"
}

# copy TO FILE...: files below the project's directory, with their paths.
copy() {
    to=$1
    shift
    for file in "$@"; do
        put 644 "$here/$file" "$to/$file"
    done
}

units() {
    for unit in "$here"/contrib/systemd/*.service; do
        name=$(basename "$unit")
        install -d "$lib/systemd/system"
        sed "s,/usr/local/bin/,$prefix/bin/,g" "$unit" >"$lib/systemd/system/$name"
        chmod 644 "$lib/systemd/system/$name"
    done
    put 644 "$here/contrib/systemd/sidekick.sysusers.conf" "$lib/sysusers.d/sidekick.conf"
    put 644 "$here/contrib/systemd/sidekick.tmpfiles.conf" "$lib/tmpfiles.d/sidekick.conf"
}

pages() {
    # Everybody may read them, whatever the umask is.
    (umask 022 && "$bin/sidekick" man "$share/man")
    work=$(mktemp -d)
    for shell in bash zsh fish; do
        "$bin/sidekick" completions $shell >"$work/$shell"
    done
    put 644 "$work/bash" "$share/bash-completion/completions/sidekick"
    # Debian's zsh looks in vendor-completions for what packages bring, and everybody's in site-functions.
    functions=site-functions
    test "$prefix" != /usr || functions=vendor-completions
    put 644 "$work/zsh" "$share/zsh/$functions/_sidekick"
    put 644 "$work/fish" "$share/fish/vendor_completions.d/sidekick.fish"
    rm -r "$work"
}

# Documents, and what is copied to /etc and changed there. Nothing of it is active.
documents() {
    cd "$here"
    copy "$doc" README.md CHANGELOG.md
    find docs -type f | while read -r file; do copy "$doc" "$file"; done
    find conf.d templates contrib/apache contrib/grafana contrib/haproxy contrib/nginx contrib/prometheus -type f |
        while read -r file; do copy "$doc/examples" "$file"; done
    find contrib/systemd -name '*.example' -o -path '*.service.d/*.conf' |
        while read -r file; do copy "$doc/examples" "$file"; done
}

installed() {
    put 755 "$binary" "$bin/sidekick"
    units
    pages
    documents
    install -d "$config/conf.d" "$config/templates" "$config/register"
    configure "$here/contrib/systemd/sidekick.env.example" "$config/sidekick.env"
    configure "$here/contrib/systemd/watch.env.example" "$config/watch.env"
    test -z "$root" || return 0
    echo "sidekick is installed. For its units, once, as root:"
    echo "    systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"
}

removed() {
    rm -f "$bin/sidekick" "$share"/man/man1/sidekick.1 "$share"/man/man1/sidekick-*.1 "$share"/man/man5/sidekick-*.5
    rm -f "$lib/systemd/system/sidekick-watch.service" "$lib/systemd/system/sidekick-register@.service" \
        "$lib/systemd/system/sidekick-dashboard.service" "$lib/sysusers.d/sidekick.conf" "$lib/tmpfiles.d/sidekick.conf"
    rm -f "$share/bash-completion/completions/sidekick" "$share"/zsh/*/_sidekick \
        "$share/fish/vendor_completions.d/sidekick.fish"
    rm -rf "$doc"
    echo "sidekick is removed. $config stays, for you to look through."
}

case $job in
    install) installed ;;
    uninstall) removed ;;
    *) echo "usage: make-install.sh install|uninstall [BINARY]" >&2; exit 64 ;;
esac
