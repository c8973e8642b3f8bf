#!/bin/bash
# The main job, shown: three web servers announced by `sidekick register`, HAProxy kept by `sidekick watch`, requests
# sent all the while; then one server is killed and one is stopped. Everything lives in a temporary directory and on
# 127.0.0.1, and goes when this ends.
#
# usage: demo.sh [dir|etcd]
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin
sidekick=$PWD/target/release/sidekick
kind=${1:-dir}
dir=$(mktemp -d "${TMPDIR:-/tmp}/sidekick-demo.XXXXXX")
pids=()

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
now() { date +%s%3N; }

finish() {
    local status=$?
    trap - EXIT
    ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null
    wait 2>/dev/null || true
    if ((status)); then
        say "The demo failed; what the programs said is in $dir:"
        tail -n 5 "$dir"/*.log || true
    else
        rm -rf "$dir"
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A port of 127.0.0.1 that nobody listens on.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# until WHAT COMMAND...: waits for a command to succeed, ten seconds at most.
until_true() {
    local what=$1 end=$(($(now) + 10000))
    shift
    until "$@" >/dev/null 2>&1; do
        (($(now) < end)) || { echo "waited in vain for $what" >&2; return 1; }
        sleep 0.02
    done
}

front=$(free_port)
stats=$(free_port)
export HAPROXY_HTTP_BIND=127.0.0.1:$front HAPROXY_STATS_BIND=127.0.0.1:$stats HAPROXY_SOCKET=$dir/admin.sock
HAPROXY_USER=$(id -un) HAPROXY_GROUP=$(id -gn)
export HAPROXY_USER HAPROXY_GROUP HAPROXY_LOG=stdout HAPROXY_CHROOT=no

export SIDEKICK_STATE_DIR=$dir/state

case $kind in
dir)
    export SIDEKICK_STORE=dir://$dir/store
    say "The store is a directory, $dir/store: good for one host, and for a look around with ls and cat."
    ;;
etcd)
    client=$(free_port) peer=$(free_port)
    export SIDEKICK_STORE=etcd://127.0.0.1:$client
    say "The store is etcd, started here on port $client."
    etcd --data-dir "$dir/etcd" --listen-client-urls "http://127.0.0.1:$client" \
        --advertise-client-urls "http://127.0.0.1:$client" --listen-peer-urls "http://127.0.0.1:$peer" \
        --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >"$dir/etcd.log" 2>&1 &
    pids+=($!)
    until_true "etcd" env ETCDCTL_API=3 etcdctl --endpoints "127.0.0.1:$client" endpoint health
    ;;
*)
    echo "usage: $0 [dir|etcd]" >&2
    exit 64
    ;;
esac

# --- three web servers -------------------------------------------------------------------------------------------------

declare -A server_pid
start_server() {
    local name=$1 port
    port=$(free_port)
    # Any program that listens will do; this one is at hand.
    cat >"$dir/$name.cfg" <<CFG
defaults
    mode http
    timeout client 10s
    timeout connect 10s
    timeout server 10s
frontend $name
    bind 127.0.0.1:$port
    http-request return status 200 content-type text/plain string "$name"
CFG
    # shellcheck disable=SC2016 # the inner shell's variables
    "$sidekick" register --name web --id "$name" --ip 127.0.0.1 --port "$port" --attr path=/ --ttl 5s \
        -- sh -c 'echo $$ >"$0.pid"; exec haproxy -db -f "$0.cfg"' "$dir/$name" >"$dir/$name.log" 2>&1 &
    server_pid[$name]=$!
    pids+=($!)
}

say "1. Three web servers, each the child of its own \`sidekick register\`."
for name in red green blue; do start_server "$name"; done
echo "   sidekick register --name web --id red --ip 127.0.0.1 --port ... --attr path=/ -- haproxy -db -f red.cfg"

# --- HAProxy, kept by sidekick watch -----------------------------------------------------------------------------------

mkdir -p "$dir/conf/conf.d" "$dir/conf/templates"
cp templates/haproxy-backends.cfg.tera templates/haproxy-routes.map.tera "$dir/conf/templates/"
# The operator's file stays as it is; what follows the announcements is in a directory beside it.
base=$PWD/contrib/haproxy/base.cfg
export SIDEKICK_D=$dir/sidekick.d
cat >"$dir/conf/conf.d/haproxy.toml" <<TOML
[[template]]
src       = "haproxy-routes.map.tera"
dest      = "$SIDEKICK_D/routes.map"
make_dirs = true
services  = ["web"]
[[template]]
src       = "haproxy-backends.cfg.tera"
dest      = "$SIDEKICK_D/backends.cfg"
make_dirs = true
services  = ["web"]
check_cmd = "SIDEKICK_D={{tree}} haproxy -c -q -f $base -f {{tree}}"
[template.haproxy]
socket = "$HAPROXY_SOCKET"
base   = "$base"
[template.reload]
signal  = "USR2"
pidfile = "$dir/haproxy.pid"
TOML

announced() { (($(cat "$dir"/{red,green,blue}.log | grep -c 'is announced') == 3)); }
until_true "three announcements" announced
# Nobody runs yet whom a reload could reach, so the first file is rendered without one.
sed '/template.haproxy/,$d' "$dir/conf/conf.d/haproxy.toml" >"$dir/first.toml"
mkdir -p "$dir/first/conf.d" && cp "$dir/first.toml" "$dir/first/conf.d/haproxy.toml"
ln -s "$dir/conf/templates" "$dir/first/templates"
"$sidekick" watch --conf-dir "$dir/first" --once --timeout 10s >"$dir/once.log" 2>&1
haproxy -W -db -p "$dir/haproxy.pid" -f "$base" -f "$SIDEKICK_D" >"$dir/haproxy.log" 2>&1 &
pids+=($!)
"$sidekick" watch --conf-dir "$dir/conf" >"$dir/watch.log" 2>&1 &
pids+=($!)
get() { curl -sf --max-time 2 "http://127.0.0.1:$front/"; }
until_true "HAProxy" get

say "2. HAProxy on port $front, its backends kept by \`sidekick watch\`. What it rendered:"
grep -A6 '^backend web' "$SIDEKICK_D/backends.cfg" | grep 'server ' | sed 's/^ */   /'

# --- requests, all the while -------------------------------------------------------------------------------------------

# One line per request: when, and who answered.
(while :; do printf '%s %s\n' "$(now)" "$(get || echo FAILED)"; sleep 0.01; done) >"$dir/requests" &
pids+=($!)

# Counts the answers in the requests since a time.
answers() { awk -v since="$1" '$1 >= since { n[$2]++ } END { for (a in n) printf "%s %d  ", a, n[a] }' "$dir/requests"; }
failed_since() { awk -v since="$1" '$1 >= since && $2 == "FAILED"' "$dir/requests" | wc -l; }
# The last answer of a server since a time, in milliseconds after it; 0 if there is none.
last_answer() { awk -v t="$2" -v who="$1" '$1 >= t && $2 == who { last = $1 - t } END { print last + 0 }' "$dir/requests"; }
# Who gave the last 30 answers.
who() { tail -n 30 "$dir/requests" | awk '{ n[$2]++ } END { for (a in n) printf "%s %d  ", a, n[a] }'; }
left_file() { ! grep -q "server $1 " "$SIDEKICK_D/backends.cfg"; }
# Whether each of the last 30 answers came from somebody else.
gone() { (($(tail -n 30 "$dir/requests" | grep -c " $1\$") == 0)); }

start=$(now)
sleep 2
say "3. Two seconds of requests: $(answers "$start")"

report() {
    local name=$1 t=$2 left=$3
    echo "   the file without $name was in place after $((left - t)) ms"
    echo "   the last answer from $name came after $(last_answer "$name" "$t") ms"
    echo "   requests that failed since: $(failed_since "$t")"
    echo "   who answers now: $(who)"
}

# One of three is a loss that the guard of the target believes; two of three within half a minute would be held.
say "4. The server red is killed with SIGKILL."
t=$(now)
kill -KILL "$(cat "$dir/red.pid")"
until_true "red to leave the file" left_file red
left=$(now)
until_true "red to answer no more" gone red
report red "$t" "$left"

sleep 2 # two reloads of one proxy keep this distance (min_interval); see it react at once again
say "5. The server green is stopped with SIGTERM: first it leaves the store, then the program hears of it."
t=$(now)
kill -TERM "${server_pid[green]}"
until_true "green to leave the file" left_file green
left=$(now)
until_true "green to answer no more" gone green
report green "$t" "$left"

say "6. The server red is started again."
sleep 2
t=$(now)
start_server red
# shellcheck disable=SC2016 # awk's variables
until_true "red to answer" awk -v t="$t" '$1 >= t && $2 == "red" { found = 1 } END { exit !found }' "$dir/requests"
echo "   its first answer came after $(awk -v t="$t" '$1 >= t && $2 == "red" { print $1 - t; exit }' "$dir/requests") ms"
echo "   who answers now: $(sleep 1; who)"

say "What was done: $(wc -l <"$dir/requests") requests, $(failed_since 0) of them failed; HAProxy was changed, without a reload, \
$(grep -c "without a reload" "$dir/watch.log") times. All of it is stopped and removed now."
