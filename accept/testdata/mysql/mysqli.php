<?php
// What PHP's mysqli does with a server, as a transcript that holds no ids,
// times or versions. Arguments: host port user password database certificate;
// with a certificate the connection uses TLS and checks the server's.
[, $host, $port, $user, $password, $database, $ca] = $argv;
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
require __DIR__ . '/transcript.php';

function described($e) { return [$e->getCode(), $e->getSqlState(), $e->getMessage()]; }

function dial($flags = 0, $db = null, $pass = null) {
    global $host, $port, $user, $password, $database, $ca;
    $c = mysqli_init();
    $c->options(MYSQLI_OPT_LOCAL_INFILE, true);
    $c->options(MYSQLI_OPT_CONNECT_TIMEOUT, 5);
    if ($ca !== '') {
        $c->ssl_set(null, null, $ca, null, null);
        $flags |= MYSQLI_CLIENT_SSL;
    }
    $c->real_connect($host, $user, $pass ?? $password, $db ?? $database, (int)$port, null, $flags);
    return $c;
}

function one($c, $sql) { return $c->query($sql)->fetch_row(); }

// All results of a multi-statement or a call.
function results($c) {
    do {
        if ($r = $c->store_result()) {
            say('rows', $r->fetch_all());
            $r->free();
        } else {
            say('ok', [$c->affected_rows, $c->info]);
        }
    } while ($c->more_results() && $c->next_result());
}

$c = dial();

step('login', function () use ($c) {
    say('who', one($c, 'SELECT CURRENT_USER(), DATABASE(), 1+1'));
    say('charset', [$c->character_set_name(), one($c, 'SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection')]);
    say('tls', one($c, "SHOW STATUS LIKE 'Ssl_cipher'")[1] !== '');
    say('id', $c->thread_id === (int)one($c, 'SELECT CONNECTION_ID()')[0]);
    say('stat', strlen($c->stat()) > 20);
    say('protocol', $c->protocol_version);
});

step('insert', function () use ($c) {
    $c->query('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(30) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB');
    $c->query("INSERT INTO t (v) VALUES ('a'),('b'),('c')");
    say('insert', [$c->insert_id, $c->affected_rows, $c->info, $c->warning_count]);
    $c->query("UPDATE t SET n=0 WHERE v='a'");
    say('unchanged', [$c->affected_rows, $c->info]);
    $c->query("UPDATE t SET n=1 WHERE v IN ('a','b')");
    say('changed', [$c->affected_rows, $c->info]);
    $c->query("INSERT INTO t (v) VALUES ('a') ON DUPLICATE KEY UPDATE n=n+5");
    say('upsert', [$c->insert_id, $c->affected_rows]);
    $c->query("DELETE FROM t WHERE v='c'");
    say('delete', $c->affected_rows);
    say('last', one($c, 'SELECT LAST_INSERT_ID(), ROW_COUNT()'));
    say('rows', $c->query('SELECT v, n FROM t ORDER BY v')->fetch_all());
});

step('transactions', function () use ($c) {
    $c->begin_transaction();
    $c->query("INSERT INTO t (v) VALUES ('rolled back')");
    $c->savepoint('s');
    $c->rollback();
    say('rolled back', one($c, 'SELECT COUNT(*) FROM t'));
    $c->begin_transaction(MYSQLI_TRANS_START_READ_ONLY);
    fails('read only', fn() => $c->query("INSERT INTO t (v) VALUES ('read only')"));
    $c->commit();
    $c->autocommit(false);
    $c->query("INSERT INTO t (v) VALUES ('committed')");
    $c->commit();
    $c->query("INSERT INTO t (v) VALUES ('lost')");
    $c->rollback();
    $c->autocommit(true);
    say('committed', $c->query('SELECT v FROM t ORDER BY v')->fetch_all());
});

step('prepared', function () use ($c) {
    $c->query("CREATE TABLE types (i INT, b BIGINT UNSIGNED, d DOUBLE, f FLOAT, m DECIMAL(30,10), s VARCHAR(50), x BLOB,
        day DATE, at DATETIME(6), t TIME(3), y YEAR, bits BIT(10), e ENUM('one','two'), j JSON, nothing INT)");
    $q = $c->prepare('INSERT INTO types VALUES (?,?,?,?,?,?,?,?,?,?,?,b\'1010101010\',?,?,?)');
    $i = -42; $b = '18446744073709551615'; $d = 1.5e300; $f = 0.25; $m = '12345678901234567890.0123456789';
    $s = "quote ' and \\ and \0 zero"; $x = "\x00\xff\xfe"; $day = '2026-11-22'; $at = '2026-11-22 12:34:56.789012'; $t = '-30:00:01.500';
    $y = 2026; $e = 'two'; $j = '{"a": [1, 2]}'; $nothing = null;
    $q->bind_param('isddssssssissi', $i, $b, $d, $f, $m, $s, $x, $day, $at, $t, $y, $e, $j, $nothing);
    $q->execute();
    say('inserted', [$q->affected_rows, $q->param_count]);
    $q->close();
    $q = $c->prepare('SELECT *, HEX(x), ? + 0, ? FROM types');
    $q->execute([7, null]);
    $r = $q->get_result();
    foreach ($r->fetch_fields() as $field) {
        say('field', [$field->name, $field->table, $field->type, $field->flags, $field->decimals, $field->charsetnr, $field->length]);
    }
    say('binary', array_map(fn($v) => is_string($v) ? bin2hex($v) : $v, $r->fetch_row()));
    $q->close();
    say('text', array_map(fn($v) => is_string($v) ? bin2hex($v) : $v, one($c, 'SELECT * FROM types')));
    $q = $c->prepare('SELECT v FROM t WHERE n >= ? ORDER BY v');
    foreach ([0, 1, 100] as $n) {
        $q->bind_param('i', $n);
        $q->execute();
        say("n >= $n", $q->get_result()->fetch_all());
    }
    $q->reset();
    $q->close();
    fails('prepare', fn() => $c->prepare('SELECT no_such_column FROM t'));
});

step('cursor', function () use ($c) {
    $q = $c->prepare('SELECT seq FROM seq_1_to_25 ORDER BY seq');
    $q->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
    $q->execute();
    $q->bind_result($n);
    $sum = 0;
    for ($i = 0; $i < 12; $i++) {
        $q->fetch();
        $sum += $n;
    }
    say('half', $sum);
    say('between', one($c, 'SELECT COUNT(*) FROM t'));
    while ($q->fetch()) {
        $sum += $n;
    }
    say('whole', $sum);
    $q->free_result();
    $q->execute();
    $q->bind_result($n);
    $q->fetch();
    say('again', $n);
    $q->close();
    say('after', one($c, 'SELECT 1'));
});

step('long data', function () use ($c) {
    $c->query('CREATE TABLE big (id INT PRIMARY KEY, x LONGBLOB)');
    $q = $c->prepare('INSERT INTO big VALUES (1, ?)');
    $nothing = null;
    $q->bind_param('b', $nothing);
    $part = str_repeat("0123456789abcdef", 4096);
    for ($i = 0; $i < 16; $i++) {
        $q->send_long_data(0, $part);
    }
    $q->execute();
    say('1 MiB', one($c, 'SELECT LENGTH(x), CRC32(x) FROM big WHERE id=1'));
    say('crc', crc32(str_repeat($part, 16)));
});

step('multi', function () use ($c) {
    $c->multi_query("SELECT 1; INSERT INTO t (v) VALUES ('multi 1'),('multi 2'); SELECT 'a', NULL UNION SELECT 'b', ''; DO 1; SELECT 2 WHERE FALSE");
    results($c);
    $c->query('CREATE PROCEDURE p(IN a INT, OUT b INT) BEGIN SELECT a; SELECT a+1, a+2; SET b = a*2; INSERT INTO t (v) VALUES (CONCAT("p", a)); END');
    $c->multi_query('CALL p(5, @b); SELECT @b');
    results($c);
    $q = $c->prepare('CALL p(?, @b)');
    $q->execute([6]);
    do {
        if ($r = $q->get_result()) {
            say('set', $r->fetch_all());
        }
    } while ($q->more_results() && $q->next_result());
    $q->close();
    $c->multi_query('SELECT 3; SELECT * FROM no_such_table; SELECT 4');
    fails('in the middle', fn() => results($c));
});

step('after an error in the middle', function () use ($c) { say('rows', one($c, 'SELECT 5')); });

step('20 MiB', function () use ($c) {
    $r = $c->query("SELECT 1, REPEAT('0123456789abcdef', 1310720), 2", MYSQLI_USE_RESULT);
    $row = $r->fetch_row();
    say('text', [$row[0], strlen($row[1]), crc32($row[1]), $row[2], $r->fetch_row()]);
    $r->free();
    $q = $c->prepare("INSERT INTO big VALUES (2, ?)");
    $q->execute([$row[1]]);
    say('inserted', $q->affected_rows);
    $q->close();
    $q = $c->prepare('SELECT x, id FROM big ORDER BY id DESC');
    $q->execute();
    $r = $q->get_result();
    while ($row = $r->fetch_row()) {
        say('binary', [strlen($row[0]), crc32($row[0]), $row[1]]);
    }
    $c->query('TRUNCATE big');
});

step('local infile', function () use ($c) {
    $file = tempnam(sys_get_temp_dir(), 'weir-');
    file_put_contents($file, "10,ten\n11,\\N\nx,bad\n" . implode('', array_map(fn($i) => "$i,row $i\n", range(100, 20099))));
    $c->query('CREATE TABLE loaded (id INT, v VARCHAR(20))');
    try {
        $c->query("LOAD DATA LOCAL INFILE '$file' INTO TABLE loaded FIELDS TERMINATED BY ','");
        say('loaded', [$c->affected_rows, $c->info, $c->warning_count]);
        say('warnings', $c->query('SHOW WARNINGS')->fetch_all());
        say('sum', one($c, 'SELECT COUNT(*), SUM(id), SUM(v IS NULL), SUM(CRC32(v)) FROM loaded'));
    } finally {
        unlink($file);
    }
    fails('missing file', fn() => $c->query("LOAD DATA LOCAL INFILE '/nonexistent/file' INTO TABLE loaded"));
    say('after', one($c, 'SELECT COUNT(*) FROM loaded'));
});

step('charsets', function () use ($c) {
    $read = fn() => bin2hex(one($c, "SELECT CONCAT(_utf8mb4 x'f09f8cb2', _utf8mb4 x'c3a9')")[0]);
    foreach (['utf8mb4', 'latin1', 'cp1251', 'utf8mb4'] as $charset) {
        say($charset, [$c->set_charset($charset), $c->character_set_name(), $read(), one($c, 'SELECT @@collation_connection')]);
    }
    $c->query("SET NAMES latin1 COLLATE latin1_german1_ci");
    say('set names', [$read(), one($c, "SELECT @@collation_connection, HEX('\xe9'), CHARSET('x')")]);
    $c->query("SET NAMES utf8mb4");
    $c->query("INSERT INTO t (v) VALUES ('\u{1f332} \u{e9}')");
    say('emoji', one($c, "SELECT v, HEX(v), CHAR_LENGTH(v) FROM t WHERE v LIKE '\u{1f332}%'"));
});

step('warnings', function () use ($c) {
    $c->query("SELECT CAST('abc' AS SIGNED), 1/0");
    say('count', $c->warning_count);
    say('warnings', $c->query('SHOW WARNINGS')->fetch_all());
    $c->query('DROP TABLE IF EXISTS no_such_table');
    say('get_warnings', [$w = $c->get_warnings(), $w->message, $w->errno]);
});

step('errors', function () use ($c) {
    global $database;
    foreach (['SELEC 1', 'SELECT * FROM no_such_table', "INSERT INTO t (v) VALUES ('a')", 'SELECT 1 +', 'CALL no_such_procedure()',
              "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='own words'", 'DROP DATABASE vault', 'SELECT s FROM vault.secret', 'SET GLOBAL max_connections=1'] as $sql) {
        fails($sql, fn() => $c->query($sql));
    }
    fails('wrong password', fn() => dial(0, null, 'wrong'));
    fails('no password', fn() => dial(0, null, ''));
    fails('unknown database', fn() => dial(0, $database . '_nowhere'));
    fails('forbidden database', fn() => dial(0, 'vault'));
});

step('databases', function () use ($c) {
    global $database;
    $c->select_db('other');
    say('other', one($c, 'SELECT DATABASE()'));
    fails('unknown', fn() => $c->select_db($database . '_nowhere'));
    say('still', one($c, 'SELECT DATABASE()'));
    $c->query("USE $database");
    say('back', one($c, 'SELECT DATABASE(), COUNT(*) FROM t'));
    $n = dial(0, '');
    say('none', one($n, 'SELECT DATABASE()'));
    $n->close();
});

step('flags', function () {
    $f = dial(MYSQLI_CLIENT_FOUND_ROWS);
    $f->query("UPDATE t SET n=n WHERE v='a'");
    say('found rows', [$f->affected_rows, $f->info]);
    $f->close();
    $f = dial(MYSQLI_CLIENT_INTERACTIVE);
    say('interactive', one($f, 'SELECT @@wait_timeout'));
    $f->close();
    say('plain', one(dial(), "SELECT @@sql_mode LIKE '%IGNORE_SPACE%'"));
});

step('ignore space', function () {
    $f = dial(MYSQLI_CLIENT_IGNORE_SPACE);
    say('mode', one($f, "SELECT @@sql_mode LIKE '%IGNORE_SPACE%'"));
    say('count', one($f, 'SELECT COUNT (*) FROM t'));
    $f->close();
});

step('change user', function () use ($c) {
    global $user, $password, $database;
    $c->query('SET @a = 1, SESSION sql_mode = \'\'');
    $c->query('CREATE TEMPORARY TABLE tmp (a INT)');
    say('changed', $c->change_user($user, $password, 'other'));
    say('state', one($c, "SELECT DATABASE(), @a, @@sql_mode = @@global.sql_mode, CURRENT_USER()"));
    say('id', $c->thread_id === (int)one($c, 'SELECT CONNECTION_ID()')[0]);
    $c->change_user($user, $password, $database);
    fails('temporary', fn() => one($c, 'SELECT COUNT(*) FROM tmp'));
    $n = dial();
    fails('wrong password', fn() => $n->change_user($user, 'wrong', $database));
});

// Ids are the proxy's, so the statement to kill is looked for by its text.
function sleeping($c) {
    for ($i = 0; $i < 1000; $i++) {
        if (one($c, "SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE() AND info='SELECT SLEEP(17.5)'")[0] > 0) {
            return true;
        }
        usleep(2000);
    }
    return false;
}

foreach (['by its greeting' => fn($n) => $n->thread_id, 'by CONNECTION_ID()' => fn($n) => one($n, 'SELECT CONNECTION_ID()')[0]] as $how => $id) {
    step("kill query $how", function () use ($c, $id) {
        $n = dial();
        $number = $id($n);
        $n->query('SELECT SLEEP(17.5)', MYSQLI_ASYNC);
        say('sleeps', sleeping($c));
        $c->query("KILL QUERY $number");
        fails('killed', fn() => $n->reap_async_query());
        say('lives', one($n, 'SELECT 1'));
        $n->close();
    });
}
step('kill the connection', function () use ($c) {
    $n = dial();
    $n->query('SELECT SLEEP(17.5)', MYSQLI_ASYNC);
    say('sleeps', sleeping($c));
    $c->query("KILL $n->thread_id");
    try {
        $n->reap_async_query();
        say('unexpected', 'it lives');
    } catch (mysqli_sql_exception $e) {
        say('lost', true); // the library's words depend on what it was doing
    }
    fails('kill of none', fn() => $c->query('KILL 4000000000'));
});

step('end', function () use ($c) {
    say('ping', $c->ping());
});
say('close', $c->close());
