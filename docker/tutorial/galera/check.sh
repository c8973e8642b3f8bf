#!/bin/sh
# 0 if this node belongs to the cluster and takes queries.
MYSQL_PWD=$MARIADB_PASSWORD mariadb --protocol=tcp --host=127.0.0.1 --user=app --batch --skip-column-names \
    --execute="SHOW STATUS LIKE 'wsrep_ready'" | grep -q ON
