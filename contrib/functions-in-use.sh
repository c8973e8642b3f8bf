#!/bin/sh
# Prints the names of the functions that an ordinary `watch` and `register` run, one a line, as the linker knows them:
# functions-in-use.sh BINARY. Both work on an etcd of their own, under Valgrind, which takes a quarter of a minute.
set -eu

# What the caller has in its environment is for another sidekick, and for another etcd.
if [ -z "${IS_CLEAN:-}" ]; then
    exec env -i IS_CLEAN=1 PATH="$PATH" HOME="${HOME:-/}" TMPDIR="${TMPDIR:-/tmp}" "$0" "$@"
fi

binary=$1
dir=$(mktemp -d)
pids=
end() {
    # shellcheck disable=SC2086 # several of them
    kill $pids 2>/dev/null || true
    wait
    rm -rf "$dir"
}
trap end EXIT
# Without these the shell would end at a signal and leave all behind.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "functions-in-use.sh: $*" >&2
    tail -n 20 "$dir"/*.log >&2 || true
    exit 1
}

# Whether a program has not ended; one that nobody has waited for yet is a zombie.
runs() { grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null; }

# Waits until a command succeeds, for a minute at most.
await() {
    until=$(($(date +%s) + 60))
    until "$@" >/dev/null 2>"$dir/await.log"; do
        for pid in $pids; do
            runs "$pid" || fail "a program has ended while this was waited for: $*"
        done
        [ "$(date +%s)" -lt "$until" ] || fail "this did not come to pass within a minute: $*"
        sleep 0.1
    done
}

has_line() { grep -q -e "$2" "$1"; }

for tool in etcd etcdctl valgrind; do
    command -v $tool >/dev/null || fail "$tool is not installed; make install-dist installs it"
done

# A port may be taken, and another etcd may answer there: nothing is written before ours says its name.
name=$(basename "$dir")
port=$(($(od -An -N2 -tu2 /dev/urandom) % 20000 + 10000))
peer=http://127.0.0.1:$((port + 1))
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS="127.0.0.1:$port" SIDEKICK_STORE="etcd://127.0.0.1:$port"
etcd --name "$name" --data-dir "$dir/etcd" \
    --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "$name=$peer" >"$dir/etcd.log" 2>&1 &
pids=$!
is_ours() { etcdctl --dial-timeout=2s --command-timeout=2s member list | grep -q -e "$name"; }
await is_ours

mkdir -p "$dir/conf/conf.d" "$dir/conf/templates"
for kind in tera tmpl; do
    follows='services = ["web"]'
    if [ $kind = tmpl ]; then follows='keys = ["/services/web"]'; fi
    cat >"$dir/conf/conf.d/$kind.toml" <<-END
		[template]
		src  = "list.$kind"
		dest = "$dir/list.$kind"
		mode = "0644"
		$follows
		check_cmd  = "test -s {{src}}"
		reload_cmd = "true"
	END
done
cat >"$dir/conf/templates/list.tera" <<'END'
{% for i in services.web %}server {{ i.id }} {{ i.addr }} weight {{ i.weight | default(value=100) }}
{% endfor %}
END
cat >"$dir/conf/templates/list.tmpl" <<'END'
{{range lsdir "/services/web"}}{{$dir := printf "/services/web/%s" .}}server {{.}} {{getv (printf "%s/ip" $dir)}}:{{getv (printf "%s/port" $dir)}}
{{end}}
END

# Runs the binary so that its functions are counted, by the names that the linker knows.
count() {
    name=$1
    shift
    valgrind --tool=callgrind --vgdb=no --demangle=no --callgrind-out-file="$dir/$name.out" \
        "$binary" "$@" >"$dir/$name.log" 2>&1 &
    pids="$pids $!"
}

# As many as take another way through sorting and through maps than a handful.
for n in $(seq 10 40); do
    etcdctl put "/services/web/c$n/ip" "127.0.1.$n" >/dev/null
    etcdctl put "/services/web/c$n/port" 8082 >/dev/null
done

count register register --name web --id a --ip 127.0.0.1 --port 8080
await has_line "$dir/register.log" announced
count watch watch --conf-dir "$dir/conf"
for kind in tera tmpl; do await has_line "$dir/list.$kind" 127.0.0.1:8080; done
for round in 1 2 3 4 5; do
    etcdctl put /services/web/b/ip "127.0.0.$round" >/dev/null
    etcdctl put /services/web/b/port 8081 >/dev/null
    for kind in tera tmpl; do await has_line "$dir/list.$kind" "127.0.0.$round:8081"; done
done
# shellcheck disable=SC2086
set -- $pids
pids=$1
for pid in "$2" "$3"; do
    kill "$pid"
    wait "$pid" || fail "a program has ended with an error"
done

# A recursive call has a number behind the name.
sed -nE "s/^c?fn=\([0-9]+\) ([^ ']+).*/\1/p" "$dir"/*.out | sort -u >"$dir/functions"
[ "$(wc -l <"$dir/functions")" -gt 1000 ] || fail "Valgrind has named hardly a function"
cat "$dir/functions"
