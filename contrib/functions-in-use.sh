#!/bin/sh
# Prints the names of the functions that an ordinary `watch` and `register` run, one a line, as the linker knows them: functions-in-use.sh BINARY
#
# Both work on an etcd of their own, under Valgrind, which takes half a minute.
set -eu

binary=$1
dir=$(mktemp -d)
pids=
# shellcheck disable=SC2086 # several of them
trap 'kill $pids 2>/dev/null || true; wait; rm -rf "$dir"' EXIT

fail() {
    echo "functions-in-use.sh: $*" >&2
    tail -n 20 "$dir"/*.log >&2
    exit 1
}

# Waits until a command succeeds.
await() {
    left=600
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "this did not come to pass within a minute: $*"
        sleep 0.1
    done
}

has_line() { grep -q -e "$2" "$1"; }

# Its own address of the loopback network is free, or the machine runs this twice at once.
address=127.$(($$ / 65536 % 100 + 100)).$(($$ / 256 % 256)).$(($$ % 250 + 2))
etcd --data-dir "$dir/etcd" --listen-client-urls "http://$address:2379" --advertise-client-urls "http://$address:2379" \
    --listen-peer-urls "http://$address:2380" --initial-advertise-peer-urls "http://$address:2380" \
    --initial-cluster "default=http://$address:2380" >"$dir/etcd.log" 2>&1 &
pids=$!
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS="$address:2379" SIDEKICK_STORE="etcd://$address:2379"
await etcdctl put /started 1

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
    valgrind --tool=callgrind --demangle=no --callgrind-out-file="$dir/$name.out" "$binary" "$@" >"$dir/$name.log" 2>&1 &
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
kill "$2" "$3"
wait "$2" "$3" || fail "a program has ended with an error"

# A recursive call has a number behind the name.
sed -nE "s/^c?fn=\([0-9]+\) ([^ ']+).*/\1/p" "$dir"/*.out | sort -u >"$dir/functions"
[ "$(wc -l <"$dir/functions")" -gt 1000 ] || fail "Valgrind has named hardly a function"
cat "$dir/functions"
