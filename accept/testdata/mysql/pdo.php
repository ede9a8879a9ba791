<?php
// What PHP's PDO does with a server, with prepared statements of the server's
// own, as a transcript that holds no ids, times or versions. Arguments: host
// port user password database certificate; with a certificate it uses TLS.
[, $host, $port, $user, $password, $database, $ca] = $argv;
require __DIR__ . '/transcript.php';

function described($e) { return [$e->errorInfo, $e->getMessage()]; }

function dial($options = [], $db = null, $pass = null, $more = '') {
    global $host, $port, $user, $password, $database, $ca;
    $db ??= $database;
    if ($ca !== '') {
        $options[PDO::MYSQL_ATTR_SSL_CA] = $ca;
    }
    return new PDO("mysql:host=$host;port=$port" . ($db === '' ? '' : ";dbname=$db") . $more, $user, $pass ?? $password, $options + [
        PDO::ATTR_EMULATE_PREPARES => false, PDO::MYSQL_ATTR_LOCAL_INFILE => true, PDO::ATTR_TIMEOUT => 5,
    ]);
}

function rows($c, $sql, $params = []) {
    $q = $c->prepare($sql);
    $q->execute($params);
    return $q->fetchAll(PDO::FETCH_NUM);
}

$c = dial([], null, null, ';charset=utf8mb4');

step('login', function () use ($c) {
    say('who', rows($c, 'SELECT CURRENT_USER(), DATABASE(), 1+1'));
    say('charset', rows($c, 'SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection'));
    say('tls', rows($c, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1] !== '');
    say('info', strlen($c->getAttribute(PDO::ATTR_SERVER_INFO)) > 20);
    say('same', $c->getAttribute(PDO::ATTR_SERVER_VERSION) === preg_replace('/^5\.5\.5-/', '', rows($c, 'SELECT VERSION()')[0][0]));
});

step('insert', function () use ($c) {
    $c->exec('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB');
    $q = $c->prepare('INSERT INTO t (v) VALUES (?)');
    foreach (['a', 'b', 'c'] as $v) {
        $q->execute([$v]);
        say('insert', [$c->lastInsertId(), $q->rowCount()]);
    }
    say('exec', [$c->exec("INSERT INTO t (v) VALUES ('d'),('e')"), $c->lastInsertId()]);
    say('update', [$c->exec("UPDATE t SET n=0"), $c->exec("UPDATE t SET n=1")]);
    say('rows', rows($c, 'SELECT id, v, n FROM t WHERE v > ? ORDER BY v', ['b']));
});

step('transactions', function () use ($c) {
    $c->beginTransaction();
    $c->exec("INSERT INTO t (v) VALUES ('lost')");
    say('inside', $c->inTransaction());
    $c->rollBack();
    $c->beginTransaction();
    $c->exec("INSERT INTO t (v) VALUES ('kept')");
    $c->commit();
    say('outside', [$c->inTransaction(), rows($c, "SELECT v FROM t WHERE v IN ('lost','kept')")]);
    $c->setAttribute(PDO::ATTR_AUTOCOMMIT, 0);
    $c->exec("INSERT INTO t (v) VALUES ('lost 2')");
    $c->rollBack();
    $c->setAttribute(PDO::ATTR_AUTOCOMMIT, 1);
    say('autocommit', [rows($c, 'SELECT @@autocommit'), rows($c, 'SELECT COUNT(*) FROM t')]);
    // The statement that commits on its own, which PDO sees by the status flags.
    $c->beginTransaction();
    $c->exec('CREATE TABLE implicit (a INT)');
    say('implicit commit', $c->inTransaction());
});

step('prepared', function () use ($c) {
    $c->exec("CREATE TABLE types (i INT, b BIGINT UNSIGNED, d DOUBLE, m DECIMAL(30,10), s VARCHAR(50), x BLOB, day DATE, at DATETIME(6), t TIME(3), nothing INT)");
    $q = $c->prepare('INSERT INTO types VALUES (:i, :b, :d, :m, :s, :x, :day, :at, :t, :nothing)');
    $q->bindValue('i', -42, PDO::PARAM_INT);
    $q->bindValue('b', '18446744073709551615');
    $q->bindValue('d', 1.5e300);
    $q->bindValue('m', '12345678901234567890.0123456789');
    $q->bindValue('s', "quote ' and \\ and \0 \u{1f332}");
    $blob = fopen('php://memory', 'w+');
    fwrite($blob, "\x00\xff\xfe");
    rewind($blob);
    $q->bindValue('x', $blob, PDO::PARAM_LOB);
    $q->bindValue('day', '2026-11-22');
    $q->bindValue('at', '2026-11-22 12:34:56.789012');
    $q->bindValue('t', '-30:00:01.500');
    $q->bindValue('nothing', null, PDO::PARAM_NULL);
    $q->execute();
    $hex = fn($r) => array_map(fn($v) => is_string($v) ? bin2hex($v) : $v, $r);
    say('binary', $hex(rows($c, 'SELECT * FROM types WHERE i = ?', [-42])[0]));
    say('text', $hex($c->query('SELECT * FROM types')->fetch(PDO::FETCH_NUM)));
    $c->setAttribute(PDO::ATTR_EMULATE_PREPARES, true);
    say('emulated', $hex(rows($c, 'SELECT * FROM types WHERE i = ?', [-42])[0]));
    $c->setAttribute(PDO::ATTR_EMULATE_PREPARES, false);
    $q = $c->query('SELECT i, b, s, x FROM types');
    foreach (range(0, 3) as $i) {
        $meta = $q->getColumnMeta($i);
        say('column', [$meta['name'], $meta['native_type'], $meta['flags'], $meta['len'], $meta['precision']]);
    }
    $many = array_map(fn($i) => $c->prepare("SELECT $i + ?"), range(1, 40));
    $sum = 0;
    foreach (array_reverse($many) as $q) {
        $q->execute([1]);
        $sum += $q->fetchColumn();
        $q->closeCursor();
    }
    say('forty at once', $sum);
    fails('prepare', fn() => $c->prepare('SELECT no_such_column FROM t'));
});

step('unbuffered', function () use ($c) {
    $c->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
    $q = $c->prepare('SELECT seq FROM seq_1_to_1000 WHERE seq > ?');
    $q->execute([990]);
    say('first', $q->fetchColumn());
    fails('busy', fn() => $c->query('SELECT 1'));
    $q->closeCursor();
    say('after', rows($c, 'SELECT 1'));
    $c->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
});

step('multi', function () use ($c) {
    $c->setAttribute(PDO::ATTR_EMULATE_PREPARES, true);
    $q = $c->query("SELECT 1; INSERT INTO t (v) VALUES ('multi 1'),('multi 2'); SELECT 'a' UNION SELECT NULL");
    do {
        say('result', [$q->columnCount(), $q->rowCount(), $q->columnCount() ? $q->fetchAll(PDO::FETCH_NUM) : null]);
    } while ($q->nextRowset());
    $c->setAttribute(PDO::ATTR_EMULATE_PREPARES, false);
    $c->exec('CREATE PROCEDURE p(IN a INT) BEGIN SELECT a; SELECT a+1, a+2; END');
    $q = $c->prepare('CALL p(?)');
    $q->execute([6]);
    do {
        say('set', $q->columnCount() ? $q->fetchAll(PDO::FETCH_NUM) : null);
    } while ($q->nextRowset());
    say('after', rows($c, 'SELECT 2'));
});

step('20 MiB', function () use ($c) {
    $c->exec('CREATE TABLE big (id INT, x LONGBLOB)');
    $x = str_repeat('0123456789abcdef', 1310720);
    $q = $c->prepare('INSERT INTO big VALUES (?, ?)');
    $q->execute([1, $x]);
    $q->execute([2, substr($x, 0, 1 << 20)]);
    foreach (rows($c, 'SELECT id, x FROM big ORDER BY id') as $row) {
        say('row', [$row[0], strlen($row[1]), crc32($row[1])]);
    }
    $c->exec('TRUNCATE big');
});

step('local infile', function () use ($c) {
    $file = tempnam(sys_get_temp_dir(), 'weir-');
    file_put_contents($file, implode('', array_map(fn($i) => "$i,row $i\n", range(1, 5000))));
    $c->exec('CREATE TABLE loaded (id INT, v VARCHAR(20))');
    try {
        say('loaded', $c->exec("LOAD DATA LOCAL INFILE '$file' INTO TABLE loaded FIELDS TERMINATED BY ','"));
    } finally {
        unlink($file);
    }
    say('sum', rows($c, 'SELECT COUNT(*), SUM(id), SUM(CRC32(v)) FROM loaded'));
});

step('charsets', function () {
    foreach (['utf8mb4', 'latin1', 'utf8', 'koi8r'] as $charset) {
        $n = dial([], null, null, ";charset=$charset");
        say($charset, [rows($n, 'SELECT @@character_set_client, @@collation_connection'), bin2hex(rows($n, "SELECT CONCAT(_utf8mb4 x'f09f8cb2', _utf8mb4 x'c3a9')")[0][0])]);
    }
    $n = dial([PDO::MYSQL_ATTR_INIT_COMMAND => "SET NAMES utf8mb4 COLLATE utf8mb4_bin, @mine='yes', SESSION sql_mode='ANSI_QUOTES'"]);
    say('init command', rows($n, 'SELECT @@collation_connection, @mine, @@sql_mode, "mine" FROM (SELECT 1 AS "mine") AS x'));
});

step('warnings', function () use ($c) {
    $c->query("SELECT CAST('abc' AS SIGNED)")->fetchAll();
    say('warnings', $c->query('SHOW WARNINGS')->fetchAll(PDO::FETCH_NUM));
    rows($c, 'SELECT CAST(? AS SIGNED)', ['def']);
    say('of a prepared one', $c->query('SHOW WARNINGS')->fetchAll(PDO::FETCH_NUM));
});

step('errors', function () use ($c) {
    global $database;
    foreach (['SELEC 1', 'SELECT * FROM no_such_table', "INSERT INTO t (v) VALUES ('a')", 'DROP DATABASE vault'] as $sql) {
        fails($sql, fn() => $c->exec($sql));
    }
    fails('wrong password', fn() => dial([], null, 'wrong'));
    fails('unknown database', fn() => dial([], $database . '_nowhere'));
    $c->exec('USE other');
    say('other', rows($c, 'SELECT DATABASE()'));
    fails('use', fn() => $c->exec("USE {$database}_nowhere"));
    say('still', rows($c, 'SELECT DATABASE()'));
    $c->exec("USE $database");
});

step('flags', function () {
    $f = dial([PDO::MYSQL_ATTR_FOUND_ROWS => true]);
    say('found rows', $f->exec("UPDATE t SET n=n WHERE v='a'"));
    $f = dial([PDO::MYSQL_ATTR_MULTI_STATEMENTS => false]);
    fails('no multi statements', fn() => $f->exec('SELECT 1; SELECT 2'));
    say('none', rows(dial([], ''), 'SELECT DATABASE()'));
});

step('ignore space', function () {
    $f = dial([PDO::MYSQL_ATTR_IGNORE_SPACE => true]);
    say('mode', rows($f, "SELECT @@sql_mode LIKE '%IGNORE_SPACE%'"));
    say('count', rows($f, 'SELECT COUNT (*) FROM t'));
});

step('persistent', function () {
    // PDO itself hands the connection on, and does not reset it.
    $a = dial([PDO::ATTR_PERSISTENT => true]);
    $id = rows($a, 'SELECT CONNECTION_ID()');
    $a->exec('SET @kept = 5');
    $a = null;
    $b = dial([PDO::ATTR_PERSISTENT => true]);
    say('same', [$id === rows($b, 'SELECT CONNECTION_ID()'), rows($b, 'SELECT @kept')]);
});

step('kill', function () use ($c) {
    $n = dial();
    $id = rows($n, 'SELECT CONNECTION_ID()')[0][0];
    $c->exec("KILL CONNECTION $id");
    try {
        @$n->query('SELECT 1'); // TLS warns as well
        say('unexpected', 'it lives');
    } catch (PDOException $e) {
        say('lost', true); // the library's words depend on what it was doing
    }
});
