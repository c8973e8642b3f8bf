<?php
// One line: which container answers, which node of the cluster it has asked, and how often the page was visited.
$services = require '/etc/app/services.php';

function database(?string $dsn): string {
    if ($dsn === null) {
        return 'none is announced';
    }
    try {
        $pdo = new PDO($dsn, 'app', getenv('DATABASE_PASSWORD'), [PDO::ATTR_TIMEOUT => 2]);
        $size = $pdo->query("SHOW STATUS LIKE 'wsrep_cluster_size'")->fetch()[1];
        return $pdo->query('SELECT @@hostname')->fetch()[0] . " of $size";
    } catch (PDOException $error) {
        return $error->getMessage();
    }
}

function visits(array $servers): string {
    foreach ($servers as [$ip, $port]) {
        if ($cache = @fsockopen($ip, $port, timeout: 1)) {
            fwrite($cache, "add visits 0 0 1\r\n0\r\nincr visits 1\r\n");
            fgets($cache);
            return trim(fgets($cache));
        }
    }
    return 'no cache is announced';
}

header('Content-Type: text/plain');
printf("%s, database: %s, visits: %s\n", gethostname(), database($services['database']), visits($services['memcached']));
