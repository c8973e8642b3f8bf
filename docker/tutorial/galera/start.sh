#!/bin/sh
# A node of the cluster. One process announces two things: the node, and the address by which all reach the cluster, which is
# HAProxy's port 33306. That one has a fixed id, which all nodes keep alive.
set -eu

balancer=$(getent hosts loadbalancer | { read -r address _ && echo "$address"; })
cat >/run/sidekick/services.toml <<END
[[service]]
name  = "galera"
port  = 3306
ports = { check = 9202 }
check = "exec:/etc/galera/check.sh"

[[service]]
name   = "database"
id     = "galera"
shared = true
ip     = "$balancer"
port   = 33306
check  = "exec:/etc/galera/check.sh"
END
exec sidekick register --config /run/sidekick/services.toml --ttl 5s \
    -- sidekick watch --admin '' -- docker-entrypoint.sh mariadbd
