# What python's pymysql does with a server, as a transcript that holds no ids,
# times or versions. Arguments: host port user password database certificate;
# with a certificate the connection uses TLS and checks the server's.
import datetime, decimal, os, sys, tempfile, threading, time, warnings, zlib

import pymysql
from pymysql.constants import CLIENT

host, port, user, password, database, ca = sys.argv[1:]
warnings.simplefilter("ignore")


def say(key, value):
    print(f"{key}: {value!r}", flush=True)


class step:
    """A step must not fail: the test looks for the word."""

    def __init__(self, name):
        print(f"== {name}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, pymysql.MySQLError):
            say("unexpected", error)
            return True


def fails(name, do):
    """The error that do must make."""
    try:
        do()
        print(f"unexpected: {name}: no error")
    except pymysql.MySQLError as e:
        say(name, e)


def dial(**more):
    options = dict(host=host, port=int(port), user=user, password=password, database=database,
                   charset="utf8mb4", local_infile=True, connect_timeout=5, max_allowed_packet=64 << 20)
    if ca:
        options.update(ssl_ca=ca, ssl_verify_cert=True, ssl_verify_identity=True)
    options.update(more)
    return pymysql.connect(**options)


def rows(c, sql, params=None):
    with c.cursor() as q:
        q.execute(sql, params)
        return q.fetchall()


c = dial()

with step("login"):
    say("who", rows(c, "SELECT CURRENT_USER(), DATABASE(), 1+1"))
    say("charset", rows(c, "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection"))
    say("autocommit", (c.get_autocommit(), rows(c, "SELECT @@autocommit")))
    say("tls", rows(c, "SHOW STATUS LIKE 'Ssl_cipher'")[0][1] != "")
    say("id", c.thread_id() == rows(c, "SELECT CONNECTION_ID()")[0][0])

with step("insert"), c.cursor() as q:
    q.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(40) UNIQUE, n INT NOT NULL DEFAULT 0) ENGINE=InnoDB")
    say("insert", (q.execute("INSERT INTO t (v) VALUES ('a'),('b'),('c')"), q.lastrowid))
    say("many", (q.executemany("INSERT INTO t (v, n) VALUES (%s, %s)", [(f"m{i}", i) for i in range(100)]), q.lastrowid))
    c.commit()
    say("unchanged", q.execute("UPDATE t SET n=0 WHERE v='a'"))
    say("changed", q.execute("UPDATE t SET n=1 WHERE v='a'"))
    c.commit()
    q.execute("SELECT v, n FROM t WHERE n > %s ORDER BY v LIMIT 3", (97,))
    say("rows", (q.description, q.fetchall()))

with step("transactions"):
    with c.cursor() as q:
        q.execute("INSERT INTO t (v) VALUES ('lost')")
        c.rollback()
        q.execute("INSERT INTO t (v) VALUES ('kept')")
        c.commit()
        q.execute("SAVEPOINT s")
        c.begin()
        q.execute("INSERT INTO t (v) VALUES ('also kept')")
        q.execute("SAVEPOINT s")
        q.execute("INSERT INTO t (v) VALUES ('also lost')")
        q.execute("ROLLBACK TO s")
        c.commit()
    say("rows", rows(c, "SELECT v FROM t WHERE v LIKE '%kept' OR v LIKE '%lost' ORDER BY v"))
    c.autocommit(True)
    say("autocommit", (c.get_autocommit(), rows(c, "SELECT @@autocommit")))

with step("two that lock the same row"):
    n = dial()
    c.begin()
    rows(c, "SELECT * FROM t WHERE v='b' FOR UPDATE")
    fails("locked", lambda: rows(n, "SELECT * FROM t WHERE v='b' FOR UPDATE NOWAIT"))
    c.rollback()
    say("got", rows(n, "SELECT v FROM t WHERE v='b' FOR UPDATE"))
    n.close()
    say("got too", rows(c, "SELECT v FROM t WHERE v='b' FOR UPDATE"))

with step("types"):
    rows(c, "CREATE TABLE types (i INT, b BIGINT UNSIGNED, d DOUBLE, m DECIMAL(30,10), s VARCHAR(50), x BLOB, day DATE, at DATETIME(6), t TIME(3), bits BIT(10), nothing INT)")
    rows(c, "INSERT INTO types VALUES (%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s)", (
        -42, 18446744073709551615, 1.5e300, decimal.Decimal("12345678901234567890.0123456789"), "quote ' \\ \0 \U0001f332", b"\x00\xff\xfe",
        datetime.date(2026, 11, 22), datetime.datetime(2026, 11, 22, 12, 34, 56, 789012), datetime.timedelta(hours=-30, milliseconds=-1500), 682, None))
    say("row", rows(c, "SELECT * FROM types"))
    rows(c, "PREPARE p FROM 'SELECT i + ?, nothing, ? FROM types'")
    rows(c, "SET @a = 2, @b = NULL")
    say("text protocol's prepared", rows(c, "EXECUTE p USING @a, @b"))
    rows(c, "DEALLOCATE PREPARE p")
    fails("gone", lambda: rows(c, "EXECUTE p USING @a, @b"))

with step("unbuffered"):
    with c.cursor(pymysql.cursors.SSCursor) as q:
        q.execute("SELECT seq, REPEAT('x', 100) FROM seq_1_to_20000")
        say("first", q.fetchmany(2))
        say("rest", sum(row[0] for row in q))

with step("multi"):
    n = dial(client_flag=CLIENT.MULTI_STATEMENTS)
    with n.cursor() as q:
        q.execute("SELECT 1; INSERT INTO t (v) VALUES ('multi 1'),('multi 2'); SELECT 'a' UNION SELECT NULL")
        while True:
            say("result", (q.rowcount, q.fetchall()))
            if not q.nextset():
                break
        n.commit()
        q.execute("CREATE PROCEDURE p(IN a INT, INOUT b INT) BEGIN SELECT a; SELECT a+1, a+2; SET b = b*2; END")
        q.callproc("p", (5, 21))
        while True:
            say("set", q.fetchall())
            if not q.nextset():
                break
        say("out", rows(n, "SELECT @_p_1"))
        q.execute("SELECT 3; SELECT * FROM no_such_table; SELECT 4")
        fails("in the middle", q.nextset)
    say("after", rows(n, "SELECT 5"))
    n.close()
    fails("not asked for", lambda: rows(c, "SELECT 1; SELECT 2"))

with step("20 MiB"):
    rows(c, "CREATE TABLE big (id INT, x LONGBLOB)")
    big = b"0123456789abcdef" * 1310720
    rows(c, "INSERT INTO big VALUES (1, _binary %s)", (big,))
    for size in (16777210, 16777211, 16777212, 16777213):
        # The row's packet has four bytes more: it ends about where a frame does.
        say(size, [zlib.crc32(x.encode()) for (x,) in rows(c, f"SELECT REPEAT('x', {size})")])
    say("row", [(len(x), zlib.crc32(x)) for (x,) in rows(c, "SELECT x FROM big WHERE id=1")])
    rows(c, "TRUNCATE big")

with step("local infile"):
    with tempfile.NamedTemporaryFile("w", prefix="weir-") as f:
        f.writelines(f"{i},row {i}\n" for i in range(20000))
        f.flush()
        rows(c, "CREATE TABLE loaded (id INT, v VARCHAR(20))")
        with c.cursor() as q:
            say("loaded", q.execute(f"LOAD DATA LOCAL INFILE '{f.name}' INTO TABLE loaded FIELDS TERMINATED BY ','"))
    say("sum", rows(c, "SELECT COUNT(*), SUM(id), SUM(CRC32(v)) FROM loaded"))
    fails("missing file", lambda: rows(c, "LOAD DATA LOCAL INFILE '/nonexistent/file' INTO TABLE loaded"))
    say("after", rows(c, "SELECT COUNT(*) FROM loaded"))
    n = dial(local_infile=False)
    fails("not asked for", lambda: rows(n, "LOAD DATA LOCAL INFILE '/nonexistent/file' INTO TABLE loaded"))
    n.close()

with step("charsets"):
    for charset in ("utf8mb4", "latin1", "utf8", "cp1251"):
        n = dial(charset=charset)
        say(charset, (n.character_set_name(), rows(n, "SELECT @@character_set_client, @@character_set_results, @@collation_connection"),
                      rows(n, "SELECT HEX(CONVERT('\xe9' USING utf8mb4))") if charset != "cp1251" else rows(n, "SELECT HEX('\u0436')")))
        n.close()
    n = dial(init_command="SET SESSION sql_mode='', time_zone='+05:30'")
    say("init command", rows(n, "SELECT @@sql_mode, @@time_zone"))
    n.set_charset("latin1")
    say("set_charset", rows(n, "SELECT @@character_set_client, '\xe9', HEX('\xe9')"))
    n.close()

with step("warnings"):
    say("rows", rows(c, "SELECT CAST('abc' AS SIGNED), 1/0"))
    say("warnings", c.show_warnings())
    rows(c, "SELECT 1")
    say("none", c.show_warnings())

with step("errors"):
    for sql in ("SELEC 1", "SELECT * FROM no_such_table", "INSERT INTO t (v) VALUES ('a')", "", ";", "SIGNAL SQLSTATE '02000' SET MYSQL_ERRNO=1234",
                "DROP DATABASE vault", "SELECT JSON_VALUE(1,2,3)"):
        fails(repr(sql), lambda: rows(c, sql))
    fails("wrong password", lambda: dial(password="wrong"))
    fails("unknown user", lambda: dial(user="nobody"))
    fails("unknown database", lambda: dial(database=database + "_nowhere"))
    fails("forbidden database", lambda: dial(database="vault"))
    c.select_db("other")
    say("other", rows(c, "SELECT DATABASE()"))
    fails("select_db", lambda: c.select_db(database + "_nowhere"))
    say("still", rows(c, "SELECT DATABASE()"))
    c.select_db(database)

with step("flags"):
    n = dial(client_flag=CLIENT.FOUND_ROWS, autocommit=True)
    with n.cursor() as q:
        say("found rows", q.execute("UPDATE t SET n=n WHERE v='a'"))
    n.close()
    n = dial(client_flag=CLIENT.INTERACTIVE)
    say("interactive", rows(n, "SELECT @@wait_timeout"))
    n.close()
    say("plain", rows(dial(), "SELECT @@wait_timeout, @@sql_mode LIKE '%%IGNORE_SPACE%%'"))

with step("ignore space"):
    n = dial(client_flag=CLIENT.IGNORE_SPACE, database=None)
    say("mode", rows(n, "SELECT @@sql_mode LIKE '%%IGNORE_SPACE%%', DATABASE()"))
    say("count", rows(n, "SELECT COUNT (*)"))
    n.close()


def sleeping():
    """Ids are the proxy's, so the statement is looked for by its text."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if rows(c, "SELECT COUNT(*) FROM information_schema.processlist WHERE db=DATABASE() AND info='SELECT SLEEP(17.5)'")[0][0]:
            return True
        time.sleep(0.002)
    return False


def killed(name, kill, lives):
    n = dial(autocommit=True)
    got = []

    def sleep():
        try:
            got.append(rows(n, "SELECT SLEEP(17.5)"))
        except pymysql.MySQLError as e:
            got.append(e if lives else "lost")

    thread = threading.Thread(target=sleep)
    thread.start()
    say("sleeps", sleeping())
    kill(n)
    thread.join()
    say(name, got)
    if lives:
        say("lives", rows(n, "SELECT 1"))
    else:
        try:
            rows(n, "SELECT 1")
            print("unexpected: it lives")
        except pymysql.MySQLError:
            say("dead", True)  # the library's words depend on what it was told


with step("kill"):
    killed("query, by its greeting", lambda n: rows(c, f"KILL QUERY {n.thread_id()}"), True)
    killed("connection, by its greeting", lambda n: rows(c, f"KILL {n.thread_id()}"), False)
    killed("connection, by the old command", lambda n: c.kill(n.thread_id()), False)
    n = dial()
    ours = rows(n, "SELECT CONNECTION_ID()")[0][0]
    rows(c, f"KILL {ours}")
    try:
        rows(n, "SELECT 1")
        print("unexpected: it lives")
    except pymysql.MySQLError:
        say("idle one", "lost")

with step("end"):
    c.ping(reconnect=False)
    c.close()
    say("open", c.open)
