package accept

import "weir/internal/testnet"

// leak is a kind of session state: how client A makes it, and what shows it.
type leak struct {
	name string
	a, b login

	set  []string                  // what A does, and after that
	raw  func(l *leakClient) error // what it does by its socket
	see  []string                  // what B looks at: it must see what a new connection does
	ways []way                     // how A leaves; all ways if nil

	// others is what root must be able to do as soon as A has left and before
	// there is a B; a result of 0 or NULL is a no.
	others []string

	// unseen: A itself would not see it in the way that B might.
	unseen bool
	// survives: COM_RESET_CONNECTION alone leaves it to the next client.
	survives bool
	// poison: COM_RESET_CONNECTION makes it worse, so the connection must end.
	// MariaDB 10.11.19 forgets a prepared branch that it resets, but not its row
	// locks, which then stay until the server is started again.
	poison bool
	// midway: A leaves in the middle of something, so it cannot quit.
	midway bool
	// bare: it needs no tables.
	bare bool
	// gone: the backend connection may not be handed on. either: it may be or
	// not; else, where A and B log in alike, it must be.
	gone, either bool
}

// leakFixture is what every row of the matrix finds.
var leakFixture = []string{
	"CREATE OR REPLACE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v INT) ENGINE=InnoDB",
	"INSERT INTO app.t VALUES (1,10),(2,20),(3,30)",
	"CREATE OR REPLACE TABLE app.m (v INT) ENGINE=MyISAM",
	"INSERT INTO app.m VALUES (1),(2),(3)",
	"CREATE OR REPLACE TABLE other.t (v INT) ENGINE=InnoDB",
	"CREATE OR REPLACE SEQUENCE app.s",
}

// leakRoutines are made once. A routine's effects are seen by no tracker.
var leakRoutines = []string{
	"CREATE PROCEDURE app.p(OUT x INT) BEGIN SET x=5; SET @in_p=6; END",
	"CREATE PROCEDURE app.temporary() CREATE TEMPORARY TABLE tmp (a INT)",
	"CREATE PROCEDURE app.digits() SET SESSION div_precision_increment=9",
	"CREATE PROCEDURE app.open() BEGIN START TRANSACTION; UPDATE t SET v=99 WHERE id=1; END",
	"CREATE FUNCTION app.locks(name VARCHAR(20)) RETURNS INT RETURN GET_LOCK(name, 0)",
	"CREATE FUNCTION app.remembers(x INT) RETURNS INT BEGIN SET @by_f=x; RETURN x; END",
	"CREATE TRIGGER app.tr BEFORE INSERT ON app.fired FOR EACH ROW SET @by_trigger=NEW.v",
}

const (
	freeLock  = "SELECT GET_LOCK('l', 0) AND RELEASE_LOCK('l')"
	freeRow   = "UPDATE app.t SET v=v WHERE id=1"
	freeTable = "ALTER TABLE app.t COMMENT='free'"
	freeWrite = "INSERT INTO app.m VALUES (9)"
	charsets  = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection"
	literal   = "SELECT HEX('\xe9'), CHARSET('x'), COLLATION('x')"
)

func all(s ...string) []string { return s }

// leaks is the matrix of session state. Every system variable has a row of its
// own beside these: see leakVariables.
var leaks = []leak{
	// Transactions.
	{name: "open transaction", set: all("BEGIN", "UPDATE t SET v=99 WHERE id=1", "INSERT INTO t (v) VALUES (40)"),
		see: all("SELECT @@in_transaction", "SELECT v FROM t"), others: all(freeRow, freeTable)},
	{name: "open transaction of a procedure", set: all("CALL open()"), see: all("SELECT @@in_transaction, v FROM t WHERE id=1"), others: all(freeRow)},
	{name: "implicit transaction", set: all("SET autocommit=0", "UPDATE t SET v=99 WHERE id=1"),
		see: all("SELECT @@autocommit", "SELECT @@in_transaction", "SELECT v FROM t WHERE id=1"), others: all(freeRow, freeTable)},
	{name: "autocommit off", set: all("SET autocommit=0"), see: all("SELECT @@autocommit", "SELECT v FROM t", "SELECT @@in_transaction")},
	{name: "autocommit off and an error", set: all("SET autocommit=0", "!SELECT * FROM no_such_table"), see: all("SELECT @@autocommit", "SELECT v FROM t", "SELECT @@in_transaction")},
	{name: "old snapshot", set: all("START TRANSACTION WITH CONSISTENT SNAPSHOT"), see: all("SELECT @@in_transaction")},
	{name: "read only transaction", set: all("START TRANSACTION READ ONLY"), see: all("SELECT @@in_transaction", "UPDATE t SET v=5 WHERE id=2")},
	{name: "next transaction read only", set: all("SET TRANSACTION READ ONLY"), see: all("INSERT INTO t (v) VALUES (1)")},
	{name: "next transaction's level", set: all("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), see: all("SELECT 1"), unseen: true},
	{name: "session's level", set: all("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ ONLY"), see: all("SELECT @@tx_isolation, @@tx_read_only")},
	{name: "rows locked for update", set: all("BEGIN", "SELECT * FROM t WHERE id=1 FOR UPDATE"), see: all("SELECT @@in_transaction"), others: all("SELECT 1 FROM app.t WHERE id=1 FOR UPDATE NOWAIT")},
	{name: "rows locked in share mode", set: all("BEGIN", "SELECT * FROM t LOCK IN SHARE MODE"), see: all("SELECT @@in_transaction"), others: all(freeRow)},
	{name: "savepoint", set: all("BEGIN", "SAVEPOINT s"), see: all("ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s")},
	{name: "chained transactions", set: all("SET completion_type='CHAIN'", "BEGIN", "COMMIT"), see: all("SELECT @@completion_type", "SELECT @@in_transaction", "COMMIT", "SELECT @@in_transaction")},
	{name: "metadata lock", set: all("BEGIN", "SELECT * FROM t"), see: all("SELECT @@in_transaction"), others: all(freeTable)},
	{name: "XA active", set: all("XA START 'x'", "UPDATE t SET v=99 WHERE id=1"),
		see: all("SELECT v FROM t WHERE id=1", "XA START 'y'", "XA END 'y'", "XA ROLLBACK 'y'", "BEGIN", "COMMIT"), others: all(freeRow), gone: true},
	{name: "XA idle", set: all("XA START 'x'", "UPDATE t SET v=99 WHERE id=1", "XA END 'x'"), see: all("SELECT v FROM t WHERE id=1", "BEGIN", "COMMIT"), others: all(freeRow), gone: true},
	{name: "XA prepared", set: all("XA START 'x'", "UPDATE t SET v=99 WHERE id=1", "XA END 'x'", "XA PREPARE 'x'"),
		see: all("SELECT v FROM t WHERE id=2", "UPDATE t SET v=5 WHERE id=2", "BEGIN", "COMMIT"), others: all("XA ROLLBACK 'x'", freeRow), gone: true, poison: true},

	// Locks.
	{name: "GET_LOCK", set: all("SELECT GET_LOCK('l', 0)"), see: all("SELECT IS_USED_LOCK('l')", "SELECT RELEASE_LOCK('l')"), others: all(freeLock)},
	{name: "DO GET_LOCK twice", set: all("DO GET_LOCK('l', 0)", "DO GET_LOCK('l', 0), GET_LOCK('k', 0)"), see: all("SELECT RELEASE_ALL_LOCKS()"), others: all(freeLock)},
	{name: "GET_LOCK by a function", set: all("SELECT locks('l')"), see: all("SELECT IS_FREE_LOCK('l')"), others: all(freeLock)},
	{name: "LOCK TABLES WRITE", set: all("LOCK TABLES m WRITE, t WRITE"), see: all("SELECT * FROM other.t", "SELECT COUNT(*) FROM t"), others: all(freeWrite, freeTable)},
	{name: "LOCK TABLES READ", set: all("LOCK TABLES m READ, t READ"), see: all("INSERT INTO m VALUES (4)", "SELECT * FROM other.t"), others: all(freeWrite, freeTable)},
	{name: "LOCK TABLES without autocommit", set: all("SET autocommit=0", "LOCK TABLES t WRITE", "UPDATE t SET v=99 WHERE id=1"),
		see: all("SELECT @@autocommit", "SELECT * FROM other.t", "SELECT v FROM t WHERE id=1"), others: all(freeRow, freeTable)},
	{name: "FLUSH TABLES WITH READ LOCK", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("FLUSH TABLES WITH READ LOCK"),
		see: all("INSERT INTO m VALUES (4)"), others: all(freeWrite, freeTable)},
	{name: "FLUSH one table WITH READ LOCK", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("FLUSH TABLES m WITH READ LOCK"),
		see: all("INSERT INTO m VALUES (4)", "SELECT * FROM other.t"), others: all(freeWrite)},
	{name: "FLUSH FOR EXPORT", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("FLUSH TABLES t FOR EXPORT"), see: all("SELECT * FROM other.t"), others: all(freeRow, freeTable)},
	{name: "BACKUP STAGE", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("BACKUP STAGE START"),
		see: all("BACKUP STAGE END"), others: all("BACKUP STAGE START", "BACKUP STAGE END")},
	{name: "BACKUP STAGE that blocks", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("BACKUP STAGE START", "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL", "BACKUP STAGE BLOCK_COMMIT"),
		see: all("BACKUP STAGE END", "UPDATE t SET v=5 WHERE id=1"), others: all(freeRow, freeTable)},
	{name: "BACKUP LOCK", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("BACKUP LOCK app.t"), see: all("SELECT 1"), others: all(freeTable), unseen: true},
	{name: "HANDLER", set: all("HANDLER t OPEN", "HANDLER t READ FIRST"), see: all("HANDLER t READ NEXT", "HANDLER t CLOSE"), others: all(freeTable, "DROP TABLE app.t")},

	// Things made for the session.
	{name: "user variables", set: all("SET @a=1", "SELECT @b:=2", "SELECT 3 INTO @c"), see: all("SELECT @a, @b, @c")},
	{name: "user variables of routines", set: all("CALL p(@d)", "SELECT remembers(7)", "INSERT INTO fired VALUES (8)"), see: all("SELECT @d, @in_p, @by_f, @by_trigger")},
	{name: "user variables by GET DIAGNOSTICS", set: all("!SELECT * FROM no_such_table", "GET DIAGNOSTICS CONDITION 1 @n = MYSQL_ERRNO"), see: all("SELECT @n")},
	{name: "temporary table", set: all("CREATE TEMPORARY TABLE tmp (a INT)"), see: all("SELECT * FROM tmp")},
	{name: "temporary table that replaces one", set: all("CREATE OR REPLACE TEMPORARY TABLE tmp (a INT)"), see: all("SELECT * FROM tmp")},
	{name: "temporary table before a real one", set: all("CREATE TEMPORARY TABLE t AS SELECT 1 AS shadow"), see: all("SELECT * FROM t", "INSERT INTO t (v) VALUES (5)")},
	{name: "temporary table by EXECUTE IMMEDIATE", set: all("EXECUTE IMMEDIATE 'CREATE TEMPORARY TABLE tmp (a INT)'"), see: all("SELECT * FROM tmp")},
	{name: "temporary table of a procedure", set: all("CALL temporary()"), see: all("SELECT * FROM tmp")},
	{name: "temporary table elsewhere", set: all("CREATE TEMPORARY TABLE other.tmp (a INT)"), see: all("SELECT * FROM other.tmp")},
	{name: "temporary table in a transaction", set: all("BEGIN", "UPDATE t SET v=99 WHERE id=1", "CREATE TEMPORARY TABLE tmp (a INT) ENGINE=InnoDB", "INSERT INTO tmp VALUES (1)"),
		see: all("SELECT * FROM tmp", "SELECT v FROM t WHERE id=1"), others: all(freeRow)},
	{name: "temporary sequence", set: all("CREATE TEMPORARY SEQUENCE ts"), see: all("SELECT NEXTVAL(ts)")},
	{name: "LASTVAL", set: all("SELECT NEXTVAL(s)"), see: all("SELECT LASTVAL(s)")},
	{name: "PREPARE", set: all("PREPARE q FROM 'SELECT ?'"), see: all("EXECUTE q USING 1", "DEALLOCATE PREPARE q")},
	{name: "binary statements left open", raw: func(l *leakClient) error {
		for range 20 {
			if _, err := l.prepare("SELECT v FROM t WHERE id=?"); err != nil {
				return err
			}
		}
		return nil
	}, see: all("SELECT VARIABLE_VALUE < 20 FROM information_schema.global_status WHERE VARIABLE_NAME='Prepared_stmt_count'")},
	{name: "long data sent and not used", raw: func(l *leakClient) error {
		id, err := l.prepare("SELECT ?")
		if err != nil {
			return err
		}
		return l.send(comLongData, append(append(id, 0, 0), "left behind"...)...)
	}, see: all("SELECT 1", "SELECT v FROM t"), unseen: true},
	{name: "open cursor", raw: func(l *leakClient) error { return l.cursor("SELECT v FROM t") }, see: all("SELECT 1", "SELECT v FROM t"), unseen: true, others: all(freeTable)},
	{name: "open cursor in a transaction", set: all("BEGIN"), raw: func(l *leakClient) error { return l.cursor("SELECT v FROM t FOR UPDATE") }, see: all("SELECT @@in_transaction"), unseen: true, others: all(freeRow, freeTable)},
	{name: "profiling", set: all("SET profiling=1", "SELECT 1"), see: all("SELECT @@profiling", "SHOW PROFILES"), survives: true, gone: true},

	// What the last statement left.
	{name: "LAST_INSERT_ID of a row", set: all("INSERT INTO t (v) VALUES (1)"), see: all("SELECT LAST_INSERT_ID(), @@last_insert_id, @@identity")},
	{name: "LAST_INSERT_ID set", set: all("SELECT LAST_INSERT_ID(55)"), see: all("SELECT LAST_INSERT_ID()")},
	{name: "insert id for the next row", set: all("SET insert_id=77"), see: all("SELECT @@insert_id", "INSERT INTO t (v) VALUES (1)", "SELECT MAX(id) FROM t")},
	{name: "ROW_COUNT", set: all("UPDATE m SET v=v+1"), see: all("SELECT ROW_COUNT()")},
	{name: "ROW_COUNT of a query", set: all("SELECT 1"), see: all("SELECT ROW_COUNT()")},
	// Not FOUND_ROWS(): a new connection has what another one's thread left.
	{name: "warnings", set: all("SELECT CAST('abc' AS SIGNED)"), see: all("SHOW WARNINGS", "SHOW COUNT(*) WARNINGS")},
	{name: "warning count", set: all("SELECT CAST('abc' AS SIGNED)"), see: all("SELECT @@warning_count, @@error_count")},
	{name: "error", set: all("!SELECT * FROM no_such_table"), see: all("SHOW ERRORS", "SHOW COUNT(*) ERRORS")},
	{name: "diagnostics", set: all("!SELECT * FROM no_such_table"), see: all("GET DIAGNOSTICS CONDITION 1 @n = MYSQL_ERRNO", "SELECT @n")},
	{name: "a kill that came late", set: all("!KILL QUERY CONNECTION_ID()"), see: all("SELECT 1", "SELECT v FROM t"), unseen: true},
	{name: "seed of RAND", set: all("SET rand_seed1=10, rand_seed2=20"), see: all("SELECT ROUND(RAND(), 9) = 0.000000047")},
	{name: "frozen clock", set: all("SET timestamp=5"), see: all("SELECT @@timestamp < 10, NOW() < '1990-01-01'")},

	// Roles.
	{name: "role", set: all("SET ROLE keeper"), see: all("SELECT CURRENT_ROLE()", "SELECT * FROM vault.secret"), survives: true, either: true},
	{name: "default role", a: login{user: testnet.UserRole}, see: all("SELECT CURRENT_ROLE()", "SELECT * FROM vault.secret"), set: all("SELECT * FROM vault.secret"), survives: true},
	{name: "default role put away", a: login{user: testnet.UserRole}, b: login{user: testnet.UserRole}, set: all("SET ROLE NONE"), see: all("SELECT CURRENT_ROLE()", "SELECT * FROM vault.secret"), survives: true, either: true},
	{name: "role in place of the default one", a: login{user: testnet.UserRole}, b: login{user: testnet.UserRole}, set: all("SET ROLE keeper"), see: all("SELECT CURRENT_ROLE()"), survives: true, either: true},
	{name: "rights of another user", a: login{user: testnet.UserAll}, b: login{user: testnet.UserNone, database: none}, set: all("SELECT * FROM vault.secret"),
		see: all("SELECT CURRENT_USER(), USER()", "SELECT * FROM vault.secret", "SHOW DATABASES"), survives: true},
	{name: "role in a prepared text", set: all("EXECUTE IMMEDIATE 'SET ROLE keeper'"), see: all("SELECT CURRENT_ROLE()"), survives: true, either: true},
	{name: "role after the client's own reset", set: all("SET ROLE keeper"), raw: func(l *leakClient) error { return l.ask(comReset) }, see: all("SELECT CURRENT_ROLE()"), survives: true, either: true},

	// Character sets.
	{name: "SET NAMES", set: all("SET NAMES latin1"), see: all(charsets, literal)},
	{name: "SET NAMES with a collation", set: all("SET NAMES utf8mb4 COLLATE utf8mb4_bin"), see: all(charsets, literal)},
	{name: "SET CHARACTER SET", set: all("SET CHARACTER SET cp1251"), see: all(charsets, literal)},
	{name: "collation_connection", set: all("SET collation_connection=ucs2_bin"), see: all(charsets, literal)},
	// LOAD DATA reads files in the database's character set. A reset puts the
	// server's in its place, and the database stays.
	{name: "character set of the database", set: all("SELECT 1"), see: all("SELECT @@character_set_database, @@collation_database"), unseen: true, survives: true},
	{name: "no conversion of results", set: all("SET character_set_results=NULL"), see: all(charsets, "SELECT _latin1 x'e9'")},
	{name: "character set of the handshake", a: login{collation: "latin1_swedish_ci"}, set: all("SELECT 1"), see: all(charsets, literal), survives: true},
	{name: "collation of the handshake", a: login{collation: "utf8mb4_bin"}, set: all("SELECT 1"), see: all(charsets, literal), survives: true},
	{name: "SET NAMES after another handshake", a: login{collation: "latin1_swedish_ci"}, b: login{collation: "utf8mb4_unicode_ci"}, set: all("SET NAMES cp1251"), see: all(charsets, literal), survives: true},

	// Databases.
	{name: "USE", set: all("USE other"), see: all("SELECT DATABASE()", "SELECT COUNT(*) FROM t", charsets), survives: true, either: true},
	{name: "COM_INIT_DB", raw: func(l *leakClient) error { return l.ask(comInitDB, []byte("other")...) }, see: all("SELECT DATABASE()", "SELECT COUNT(*) FROM t"), survives: true, either: true},
	{name: "USE seen without a database", b: login{database: none}, set: all("USE other"), see: all("SELECT DATABASE()", "SELECT * FROM t"), survives: true},
	{name: "database of the login", a: login{database: "other"}, b: login{database: none}, set: all("SELECT 1"), see: all("SELECT DATABASE()"), survives: true},
	{name: "no database", a: login{database: none}, set: all("SELECT 1"), see: all("SELECT DATABASE()", "SELECT COUNT(*) FROM t"), survives: true},
	{name: "database that was dropped", a: login{user: testnet.UserAll}, b: login{user: testnet.UserAll}, set: all("CREATE DATABASE short_lived", "USE short_lived", "DROP DATABASE short_lived"),
		see: all("SELECT DATABASE()", "SELECT COUNT(*) FROM t"), survives: true},
	{name: "database after the client's own reset", set: all("USE other"), raw: func(l *leakClient) error { return l.ask(comReset) }, see: all("SELECT DATABASE()"), survives: true},

	// What was negotiated.
	{name: "multi-statements by COM_SET_OPTION", raw: func(l *leakClient) error { return l.ask(comSetOption, 0, 0) }, see: all("SELECT 1; SELECT 2"), unseen: true, survives: true},
	{name: "no multi-statements by COM_SET_OPTION", a: login{multi: true}, b: login{multi: true}, raw: func(l *leakClient) error { return l.ask(comSetOption, 1, 0) }, see: all("DO 1; DO 2"), survives: true},
	{name: "multi-statements of the login", a: login{multi: true}, set: all("DO 1; DO 2"), see: all("DO 1; DO 2"), survives: true},
	{name: "found rows of the login", a: login{foundRows: true}, set: all("UPDATE m SET v=v"), see: all("UPDATE m SET v=v", "SELECT ROW_COUNT()"), survives: true},
	{name: "trackers", set: all("SET session_track_schema=0, session_track_system_variables='', session_track_state_change=1, session_track_transaction_info='STATE'"),
		see: all("SELECT @@session_track_schema, @@session_track_system_variables, @@session_track_state_change, @@session_track_transaction_info")},
	{name: "variable set by a procedure", set: all("CALL digits()"), see: all("SELECT @@div_precision_increment", "SELECT 1/3")},

	// Clients that leave in the middle. The connection may not be used again.
	{name: "result not read", midway: true, gone: true, unseen: true, survives: true,
		raw: func(l *leakClient) error {
			return l.send(comQuery, []byte("SELECT REPEAT('x', 1000) FROM seq_1_to_100000")...)
		}, see: all("SELECT 1", "SELECT v FROM t")},
	{name: "result read in part", midway: true, gone: true, unseen: true, raw: func(l *leakClient) error {
		if err := l.send(comQuery, []byte("SELECT REPEAT('x', 1000), t.v FROM seq_1_to_100000, t")...); err != nil {
			return err
		}
		for range 100 {
			if _, err := l.read(); err != nil {
				return err
			}
		}
		return nil
	}, see: all("SELECT 1", "SELECT v FROM t"), others: all(freeTable)},
	{name: "LOAD DATA LOCAL asked for", set: all("BEGIN"), midway: true, gone: true, unseen: true, survives: true,
		raw: func(l *leakClient) error {
			return l.ask(comQuery, []byte("LOAD DATA LOCAL INFILE 'x' INTO TABLE t (v)")...)
		}, see: all("SELECT 1", "SELECT v FROM t"), others: all(freeTable)},
	{name: "half a command", midway: true, unseen: true, survives: true, set: all("SELECT 1"), raw: func(l *leakClient) error {
		_, err := l.wire.Write([]byte("\x20\x00\x00\x00\x03DELETE FROM t; "))
		return err
	}, see: all("SELECT 1", "SELECT v FROM t")},
	{name: "a statement that still runs", set: all("SELECT 1"), midway: true, either: true, unseen: true, survives: true,
		raw: func(l *leakClient) error { return l.send(comQuery, []byte("SELECT SLEEP(0.2)")...) }, see: all("SELECT 1", "SELECT v FROM t")},
}
