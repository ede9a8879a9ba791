package lex

import (
	"strings"
	"testing"
)

const (
	pure    = Traits(0)
	foreign = Names | Holds | Previous        // calls what is not known
	any     = Names | Holds | Sets | Previous // a statement of a kind that is not known
)

type reading struct {
	sql  string
	want Traits
}

func judge(t *testing.T, rows []reading) {
	t.Helper()
	for _, r := range rows {
		if got := Scan([]byte(r.sql), true); got != r.want {
			t.Errorf("%q: %v, want %v", r.sql, got, r.want)
		}
	}
}

func TestStatementsThatChangeNothingArePure(t *testing.T) {
	judge(t, []reading{
		{"SELECT 1", pure},
		{"select 1;", pure},
		{" \t\r\n\v\fSELECT/**/1 -- c\n # d\n;-- e", pure},
		{"SELECT @@version_comment LIMIT 1", pure},
		{"SELECT @@session.auto_increment_increment, @@global.anything", pure},
		{"SELECT 1 FROM DUAL WHERE 1 IN (1, 2) AND NOT (1) LIMIT 1 FOR UPDATE", pure},
		{"SELECT DISTINCT (1), COUNT(*), now(), NOW(6), LEFT ('a', 1), IF (1, 2, 3), CURRENT_USER ()", pure},
		{"SELECT CAST(1 AS DECIMAL(10,2)), CONVERT('a', CHAR (3)), CAST('a' AS whatever(9)), x'4A', 0x4a, 0b1, N'a', _utf8mb4'a', DATE'2026-01-01'", pure},
		{"SELECT 'it''s', \"a 'b' \"\"c\"\"\", `a``b`, 'a' 'b', 'c:\\dir\\\\', 1.5e-3, .5, 1e5 AS x", pure},
		{"SELECT 'GET_LOCK(1) FROM t /*! */ -- ', '/*', '*/', '@a:=1', ';'", pure},
		{"SELECT 'caf\xc3\xa9\x00'", pure},
		{"SELECT 2*/**/3 --1", pure},
		{"SELECT CASE WHEN (1) THEN (2) ELSE (3) END, MATCH (a) AGAINST ('x')", pure},
		{"((SELECT 1) UNION ALL (SELECT 2)) ORDER BY (1)", pure},
		{"WITH a AS (SELECT 1) SELECT 2", pure},
		{"WITH RECURSIVE a (n, m) AS (SELECT 1, 2) SELECT 2", pure},
		{"VALUES (1), (2)", pure},
		{"SELECT SLEEP(1), BENCHMARK(9, MD5('a')), RELEASE_LOCK('a'), IS_FREE_LOCK('a'), MASTER_POS_WAIT('a', 1)", pure},
		{"BEGIN", pure}, {"begin work;", pure}, {"COMMIT", pure}, {"COMMIT WORK AND NO CHAIN NO RELEASE", pure},
		{"START TRANSACTION", pure}, {"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", pure},
		{"ROLLBACK", pure}, {"ROLLBACK WORK TO SAVEPOINT `a`", pure}, {"ROLLBACK TO a", pure}, {"SAVEPOINT a", pure}, {"RELEASE SAVEPOINT a", pure},
		{"SHOW DATABASES LIKE 'a%'", pure}, {"SHOW FULL PROCESSLIST", pure}, {"SHOW GLOBAL VARIABLES", pure}, {"SHOW CHARACTER SET", pure},
		{"", pure}, {";", pure}, {"/* nothing */", pure},
		{"SELECT 1; SELECT 2", Multi}, {"SELECT 1;;", pure}, {"SELECT 1;;SELECT 2", Multi}, {"BEGIN; COMMIT;", Multi},
	})
}

func TestTablesAreNamed(t *testing.T) {
	judge(t, []reading{
		{"SELECT a FROM t", Names}, {"SELECT a FROM`t`", Names}, {"SELECT a FROM \"t\"", Names}, {"SELECT a FROM dual.t", Names},
		{"SELECT a FROM `dual`", Names}, {"SELECT 1 FROM DUAL, t", Names}, {"SELECT 1 FROM DUAL STRAIGHT_JOIN t", Names}, {"SELECT 1 FROM (DUAL)", Names},
		{"SELECT 1 WHERE EXISTS (SELECT 1 FROM t)", Names}, {"WITH a AS (SELECT 1) UPDATE t SET b = 1", Names}, {"TABLE t", Names}, {"SELECT 1 UNION TABLE t", Names}, {"(TABLE t)", Names},
		{"SELECT a.b", Names}, {"SELECT \"a\".b", Names},
		{"INSERT INTO t (a, b) VALUES (1, 2)", Names}, {"INSERT LOW_PRIORITY IGNORE `t`(a) SELECT 1", Names}, {"INSERT INTO d . t (a) SET a = (1)", Names},
		{"INSERT INTO \"t\" (\"a\") VALUES (1)", Names}, {"REPLACE t VALUES (1) ", Names}, {"INSERT INTO user (a) VALUES (REPLACE(1, 2, 3))", Names},
		{"UPDATE t SET a = 'GET_LOCK(1)'", Names}, {"DELETE FROM t USING (t)", Names},
		{"EXPLAIN t", Names}, {"DESC SELECT 1", Names},
		{"SHOW CREATE TABLE t", Names | Previous}, {"SHOW TABLES", Names | Previous}, {"SHOW COLUMNS FROM t", Names | Previous},
		{"SHOW DATABASES WHERE (SELECT 1 FROM t)", Names},
	})
}

func TestWhatIsNotKnownMayDoAnything(t *testing.T) {
	for _, sql := range []string{
		"USE d", "DO 1", "CALL p()", "LOCK TABLES t READ", "UNLOCK TABLES", "FLUSH TABLES WITH READ LOCK", "BACKUP STAGE START", "HANDLER t OPEN",
		"XA START 'a'", "PREPARE a FROM 'SELECT 1'", "EXECUTE a", "EXECUTE IMMEDIATE 'SELECT 1'", "DEALLOCATE PREPARE a", "CREATE TEMPORARY TABLE t (a INT)",
		"CREATE OR REPLACE TEMPORARY TABLE t SELECT 1", "DROP TABLE t", "ALTER TABLE t ADD b INT", "LOAD DATA INFILE 'a' INTO TABLE t", "ANALYZE SELECT 1",
		"GET DIAGNOSTICS @a = NUMBER", "SIGNAL SQLSTATE '45000'", "TRUNCATE t", "GRANT a TO b", "INSTALL SONAME 'a'", "SHUTDOWN", "IF 1 THEN SELECT 1",
		"BEGIN NOT ATOMIC SELECT 1", "BEGIN SELECT 1", "BEGIN 'a'", "START SLAVE", "START REPLICA", "START ALL SLAVES", "RELEASE a", "COMMIT a", "ROLLBACK a",
		"SAVEPOINT 'a'", "SAVEPOINT f()", "ROLLBACK TO f()", "START TRANSACTION f()", "DECLARE a INT", "CREATE", "frobnicate", "`SELECT` 1", "1", "?", "'a'", "(CALL p())", "((1))",
	} {
		if got := Scan([]byte(sql), true); got&any != any {
			t.Errorf("%q: %v, want %v", sql, got, any)
		}
	}
}

func TestForeignFunctionsMayHold(t *testing.T) {
	judge(t, []reading{
		{"SELECT f()", foreign}, {"SELECT f ()", foreign}, {"SELECT f/**/()", foreign}, {"SELECT f -- c\n ()", foreign}, {"SELECT `f`()", foreign}, {"SELECT `abs`(1)", foreign},
		{"SELECT \"f\"()", foreign}, {"SELECT d.f()", foreign}, {"SELECT d . abs(1)", foreign}, {"SELECT `d`.`f`()", foreign}, {"SELECT d.COUNT(1)", foreign},
		// Names that are free unless the parenthesis touches them.
		{"SELECT COUNT (1)", foreign}, {"SELECT NOW\n()", foreign}, {"SELECT MAX/**/(1)", foreign}, {"SELECT SUBSTR ('a', 1)", foreign},
		// Words that MariaDB lets a function have.
		{"SELECT AGAINST(1)", foreign}, {"SELECT first(1)", foreign}, {"SELECT columns(1)", foreign}, {"SELECT of(1)", foreign}, {"SELECT NVL(1, 2)", foreign},
		{"SELECT a FROM t WHERE f(a)", foreign}, {"UPDATE t SET a = f()", foreign}, {"INSERT INTO t VALUES (f())", foreign}, {"INSERT INTO t (a) VALUES (1) RETURNING f()", foreign},
		{"INSERT INTO t SELECT f()", foreign}, {"INSERT INTO t SET a = f()", foreign}, {"INSERT INTO t PARTITION (p) (a) VALUES (f())", foreign},
		{"DELETE FROM t ORDER BY f()", foreign}, {"VALUES (f())", foreign}, {"SHOW STATUS WHERE f()", foreign}, {"SHOW GLOBAL STATUS WHERE f()", foreign}, {"EXPLAIN SELECT f()", foreign},
		{"SET autocommit = f()", foreign | Sets}, {"SET @a = (SELECT f())", foreign | Sets}, {"SET @a = 1, @b = f(1, 2), @c = 3", foreign | Sets},
		{"SELECT x AS OF f()", foreign},
		{"SELECT GET_LOCK('a', 1)", Holds}, {"SELECT get_lock ('a', 1)", Holds}, {"SELECT 1 IN (GET_LOCK('a', 1))", Holds},
		{"SELECT BENCHMARK(1, GET_LOCK('a', 1))", Holds}, {"SELECT a FROM t WHERE get_lock(a, 1)", Names | Holds},
		{"SELECT 'a' (1)", everything}, {"SELECT @a (1)", everything | Previous}, {"SELECT 1 (1)", everything},
	})
}

func TestStateOfTheSessionIsSeen(t *testing.T) {
	judge(t, []reading{
		{"SELECT @a", Previous}, {"SELECT @`a b`, @'a', @\"a\", @a.b$c", Previous}, {"SELECT @a := 1", Sets | Previous}, {"SELECT @a:=(SELECT 1)", Sets | Previous},
		{"SELECT 1 INTO @a", Sets | Previous}, {"SELECT 1, 2 INTO @a, @b FROM DUAL", Sets | Previous},
		{"SELECT 1 INTO OUTFILE 'a'", Sets | Holds}, {"SELECT 1 INTO DUMPFILE 'a'", Sets | Holds}, {"SELECT 1 INTO a", Sets | Holds},
		{"SELECT SQL_CALC_FOUND_ROWS 1", Sets}, {"SELECT RAND()", Sets}, {"SELECT rand (5)", Sets},
		{"SELECT LAST_INSERT_ID()", Previous}, {"SELECT LAST_INSERT_ID( /* */ )", Previous}, {"SELECT LAST_INSERT_ID(5)", Sets | Previous}, {"SELECT LAST_INSERT_ID ((5))", Sets | Previous},
		{"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = LAST_INSERT_ID(a)", Names | Sets | Previous},
		{"SELECT FOUND_ROWS()", Previous}, {"SELECT ROW_COUNT ()", Previous}, {"SELECT `row_count`()", foreign},
		{"SELECT @@identity", Previous}, {"SELECT @@session.last_insert_id", Previous}, {"SELECT @@insert_id", Previous}, {"SELECT @@warning_count, @@error_count", Previous},
		{"SELECT @@last_gtid", Previous}, {"SELECT @@what_a_later_server_has", Previous}, {"SELECT @@hot.key_buffer_size", Previous},
		{"SHOW WARNINGS", Previous}, {"SHOW ERRORS LIMIT 1", Previous}, {"SHOW COUNT(*) WARNINGS", Previous}, {"SHOW PROFILES", Previous}, {"SHOW PROFILE FOR QUERY 1", Previous},
		{"SHOW STATUS LIKE 'a'", Previous}, {"SHOW SESSION STATUS", Previous}, {"SHOW LOCAL VARIABLES", Previous}, {"SHOW VARIABLES LIKE 'warning_count'", Previous},
		{"SELECT NEXTVAL(s)", foreign | Sets}, {"SELECT NEXT VALUE FOR s", Names | Sets | Previous}, {"SELECT PREVIOUS VALUE FOR s", Names | Sets | Previous}, {"SELECT s.currval", Names | Sets | Previous},
		{"SELECT SQL%ROWCOUNT", Previous}, {"SELECT * FROM information_schema.session_status", Names | Previous}, {"SELECT * FROM `Information_Schema`.`profiling`", Names | Previous},
		{"SELECT * FROM \"performance_schema\".x", Names | Previous}, {"SELECT * FROM a, `session_status`", Names | Previous},
	})
}

func TestSetIsReadByItsTargets(t *testing.T) {
	judge(t, []reading{
		{"SET autocommit=1", Sets}, {"set session sql_mode = ''", Sets}, {"SET LOCAL wait_timeout := 5", Sets}, {"SET @@session.time_zone = '+00:00'", Sets}, {"SET @@local.sql_notes=0", Sets},
		{"SET @@autocommit = ON, @a = 1, @`b` := 2, SESSION unique_checks = DEFAULT, NAMES utf8mb4", Sets}, {"SET @a = IF(1, 2, 3), @b = (SELECT 1)", Sets},
		{"SET sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')", Sets}, {"SET @a = @b", Sets | Previous},
		{"SET NAMES utf8mb4", Sets}, {"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin', autocommit=1", Sets}, {"SET CHARACTER SET DEFAULT", Sets}, {"SET CHAR SET binary", Sets}, {"SET CHARSET latin1", Sets},
		{"SET TRANSACTION READ ONLY", Sets}, {"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE", Sets}, {"SET tx_isolation='SERIALIZABLE'", Sets},
		// What a reset leaves, what others feel, what hides things from the pool.
		{"SET ROLE a", any}, {"SET ROLE NONE", any}, {"SET DEFAULT ROLE a", any}, {"SET PASSWORD = 'a'", any}, {"SET PASSWORD FOR a = 'a'", any},
		{"SET autocommit=1, ROLE a", any}, {"SET autocommit=1, PASSWORD='a'", any}, {"SET NAMES utf8, ROLE a", any}, {"SET @a=1, GLOBAL sql_notes=1", any},
		{"SET GLOBAL sql_notes=1", any}, {"SET @@global.sql_notes=1", any}, {"SET PERSIST sql_notes=1", any}, {"SET GLOBAL TRANSACTION READ ONLY", any},
		{"SET STATEMENT sql_notes=1 FOR SELECT 1", any}, {"SET STATEMENT session_track_schema=0 FOR SELECT 1", any},
		{"SET session_track_schema=0", any}, {"SET @@session.session_track_state_change=0", any}, {"SET autocommit=1, SESSION session_track_transaction_info='OFF'", any},
		{"SET sql_log_bin=0", any}, {"SET sql_slave_skip_counter=1", any}, {"SET max_relay_log_size=9", any}, {"SET what_a_later_server_has=1", any},
		// Forms that are not read.
		{"SET `autocommit`=1", any}, {"SET \"autocommit\"=1", any}, {"SET a.b=1", any}, {"SET SESSION @a=1", any}, {"SET SESSION NAMES utf8", any}, {"SET SESSION SESSION sql_notes=1", any},
		{"SET SESSION GLOBAL sql_notes=1", any}, {"SET SESSION @@sql_notes=1", any}, {"SET CHARACTER autocommit=1", any}, {"SET (autocommit)=1", any}, {"SET autocommit 1", any},
		{"SET TRANSACTION READ ONLY, ROLE a", any}, {"SET TRANSACTION READ f()", any}, {"SET autocommit=1, TRANSACTION READ ONLY", any}, {"SET NAMES utf8 COLLATE f()", any}, {"SET SESSION AUTHORIZATION a", any},
		{"SET RESOURCE GROUP a", any}, {"SET PATH a", any},
	})
}

func TestWhatIsNotCertainIsUnknown(t *testing.T) {
	for _, sql := range []string{
		// One mode ends the text at the quote, the other does not.
		`SELECT 'a\'`, `SELECT 'a\' , GET_LOCK('a',1), '`, `SELECT "a\"b"`, `SELECT 'a\\\'b'`, `SELECT 'a\'b'`,
		"SELECT 'a", `SELECT "a`, "SELECT `a", "SELECT @'a", "SELECT x'41", "SELECT 1 /* a", "SELECT 1 /*", "SELECT /*/", `SELECT 'a\`,
		// Code for some servers.
		"SELECT /*! 1 */ 2", "SELECT /*!50000 1 */", "/*M! SELECT */ 1", "SELECT /*m! 1 */", "SELECT /*+ SET_VAR(sql_mode='') */ 1", "/*!*/",
		// Comments that nest for some.
		"SELECT /* /* */ 1 */", "SELECT 1 /* a /*/ */", "SELECT 1 # \x00\n, f()", "SELECT 1 -- \x00\n, f()", "SELECT 1 /* \x00 */",
		// A comment for some only.
		"SELECT 1 --\x01 , f()", "SELECT 1 --\x7f", "SELECT 1 --\xa0 , f()",
		"SELECT\x00 1", "SELECT \x01 1", "SELECT \x7f", "SELECT \xa01", "SELECT caf\xc3\xa9", "SELECT \xc3\xa9()", "SELECT \"a\x00\"", "SELECT `a\x00`",
		// Names that begin like numbers, quotes of other servers, and the like.
		"SELECT 1a", "SELECT 0X1F", "SELECT 0xg", "SELECT 0b2", "SELECT 1e", "SELECT 1e+", "SELECT 1.f(2)", "SELECT 1..2", "SELECT t.5", "SELECT t.5f()", "SELECT $$a$$", "SELECT $f()", "SELECT q'[a]'", "SELECT f'a'",
		"SELECT {d '2026-01-01'}", "SELECT a[1]", "SELECT :a", "SELECT \\N", "a: BEGIN", "SELECT @ a", "SELECT @@ version", "SELECT @@`version`", "SELECT @@session . autocommit", "SELECT @@a.b.c", "SELECT @caf\xc3\xa9", "SELECT @@caf\xc3\xa9",
		// What follows may be read in another character set.
		"SET NAMES swe7; SELECT 1", "CALL p(); SELECT 1", "SELECT f(); SELECT 1", "BEGIN NOT ATOMIC SELECT 1; END",
		"SELECT '" + strings.Repeat("a", window) + "'",
	} {
		if got := Scan([]byte(sql), true); got&everything != everything {
			t.Errorf("%.60q: %v", sql, got)
		}
	}
	if got := Scan([]byte("SELECT 1"), false); got != everything {
		t.Errorf("in a character set with ASCII inside of characters: %v", got)
	}
	if got := Scan([]byte("SELECT '"+strings.Repeat("a", window-len("SELECT ''"))+"'"), true); got != pure {
		t.Errorf("16 KiB: %v", got)
	}
}

func TestKillIsFoundInEveryStatement(t *testing.T) {
	judge(t, []reading{
		{"KILL 5", any | Kills}, {"/* c */ kill USER a", any | Kills}, {"KILL CONNECTION_ID() + 1", any | Kills}, {"SELECT 1; KILL 5", any | Kills | Multi},
		{"KILL 'a\\'b'", everything | Kills}, {"SET autocommit=1; KILL 5", everything | Kills}, {"SELECT kill", pure},
	})
}

func TestUnknownHasEveryBitOfWhatMayHappen(t *testing.T) {
	if everything&Unknown == 0 || everything.Pure() || everything.Plain() || everything|Kills != 1<<7-1 {
		t.Error(everything)
	}
	for bit := Unknown; bit <= Kills; bit <<= 1 {
		if want := bit == Previous || bit == Multi || bit == Kills; bit.Pure() != want {
			t.Errorf("%v: pure %v", bit, !want)
		}
		if want := bit != Unknown && bit != Holds; bit.Plain() != want {
			t.Errorf("%v: plain %v", bit, !want)
		}
	}
	if got := (Names | Kills).String() + " " + pure.String(); got != "names|kills pure" {
		t.Error(got)
	}
}
