package lex

import (
	"strings"
	"testing"
)

func TestDigestHasTheShapeAndNoValue(t *testing.T) {
	for _, test := range []struct{ sql, want string }{
		{"SELECT 1", "SELECT ?"},
		{" select\n\ta ,b  FROM t /* c */ -- d\nWHERE c=1.5e3 AND d>= .5 # e", "select a, b FROM t WHERE c = ? AND d >= ?"},
		{"SELECT 'a', \"b\", 'it''s', x'4A', X'4a', 0x4A, 0b1, b'1', N'a', _utf8mb4'a', DATE'2026-01-01'", "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, _utf8mb4 ?, DATE ?"},
		{"SELECT 'a' 'b'\n\"c\"", "SELECT ?"},
		{"SELECT -1, +2, - 3, a - 1, a -1, (-1), -a, 2 - -1, a*-1", "SELECT ?, ?, ?, a - ?, a - ?, (?), - a, ? - ?, a * ?"},
		{"SELECT a.b, t.*, *, `a b`.`c``d`, @@session.x, @a, @'secret', @`secret` := NULL", "SELECT a.b, t.*, *, `a b`.`c``d`, @@session.x, @a, @?, @? := NULL"},
		{"SELECT COUNT(*), NOW ( ), f (1, 'a'), LEFT(a,2)", "SELECT COUNT(*), NOW(), f(?, ?), LEFT(a, ?)"},
		{"SELECT a FROM t WHERE b IN (1) AND c in('a','b') AND d NOT IN (1,2,3) AND (e,f) IN ((1,2),(3,4))", "SELECT a FROM t WHERE b IN (?+) AND c in (?+) AND d NOT IN (?+) AND (e, f) IN ((?+))"},
		{"INSERT INTO t (a,b) VALUES (1,'x'),(2,'y'), (-3,'z')", "INSERT INTO t(a, b) VALUES (?+)"},
		{"INSERT INTO t VALUES (1), (2)", "INSERT INTO t VALUES (?)"},
		{"INSERT INTO t VALUES (1,now(),(2)), (3,now(),(4)),(5,NULL,(6))", "INSERT INTO t VALUES (?, now(), (?)), (?, NULL, (?))"},
		{"INSERT INTO t VALUES (?, ?, :=)", "INSERT INTO t VALUES (?, ?, :=)"},
		{"SELECT a FROM t WHERE b IN (SELECT 1) LIMIT 10, 20", "SELECT a FROM t WHERE b IN (SELECT ?) LIMIT ?, ?"},
		{"SELECT 1; SELECT 2 ;", "SELECT ?; SELECT ?"},
		{"SELECT a<=>b, a->>'$.x', a||b, a!=b, a:=1, !a, ~1", "SELECT a <=> b, a ->> ?, a || b, a != b, a := ?, ! a, ~ ?"},
		{"/*!40101 SET NAMES utf8 */;", "SET NAMES utf8"},
		{"SELECT /*! SQL_NO_CACHE 5 */ 1", "SELECT SQL_NO_CACHE ?"},
		{"SELECT \xc3\xa9 FROM `gr\xc3\xb6\xc3\x9fe\x01\x1b[31m\xff\xe2\x80\xae`", "SELECT \xc3\xa9 FROM `gr\xc3\xb6\xc3\x9fe??[31m????`"},
		{"SELECT 1abc, 0X4142, 12e, t.5, $", "SELECT ?, ?, ?, t ?,..."},
		{"KILL 5", "KILL ?"},
		{"((((((((((((((((((1,2),(1,2)), 3))))))))))))))))", "((((((((((((((((((?, ?), (?, ?)), ?))))))))))))))))"},
		{")(),,.;;", ") (),,."},
		{"", ""},
		// Nothing is shown behind the place where the modes of a server part.
		{`SELECT 'a\'b', 'secret'`, "SELECT ?..."},
		{`SELECT 'a\\', 'b\n'`, "SELECT ?, ?"},
		{"SELECT 'secret", "SELECT ?..."}, {"SELECT \"secret", "SELECT ?..."}, {"SELECT `secret", "SELECT ?..."}, {"SELECT 1 /* secret", "SELECT ?..."},
		{"SELECT /*! '*/ secret' */ 1", "SELECT..."}, {"SELECT q'[it's secret]'", "SELECT..."}, {"SELECT 1 --\x01 don't\n, 'secret'", "SELECT ?..."}, {"SELECT /* /* */ don't */ 'secret'", "SELECT..."}, {"SELECT $a$ secret $a$", "SELECT..."},
	} {
		if got := string(Digest(nil, []byte(test.sql), 200)); got != test.want {
			t.Errorf("%q:\n got %q\nwant %q", test.sql, got, test.want)
		}
	}
}

func TestDigestIsNoLongerThanAsked(t *testing.T) {
	sql := []byte("INSERT INTO t (a, b, `caf\xc3\xa9`) VALUES (f(1), 2, x), (1, 2, 3); SELECT 'a'")
	whole := len(Digest(nil, sql, 1000))
	for max := range whole + 5 {
		got := string(Digest([]byte("kept "), sql, max))
		if !strings.HasPrefix(got, "kept ") || len(got) > len("kept ")+max {
			t.Errorf("%d: %q", max, got)
		}
		if cut := strings.HasSuffix(got, cutMark); cut != (max >= len(cutMark) && max < whole+len(cutMark)) {
			t.Errorf("%d of %d: %q", max, whole, got)
		}
	}
	long := "SELECT 1" + strings.Repeat(" ", window) + "FROM secret"
	if got := string(Digest(nil, []byte(long), 100)); got != "SELECT ?..." {
		t.Errorf("over 16 KiB: %q", got)
	}
	rows := "INSERT INTO t VALUES (1,2)" + strings.Repeat(",(1,2)", 1000)
	if got := string(Digest(nil, []byte(rows), 40)); got != "INSERT INTO t VALUES (?+)" {
		t.Errorf("many rows: %q", got)
	}
}

func TestDigestHashIsOfTheShape(t *testing.T) {
	hash := func(sql string) uint64 { return DigestHash(Digest(nil, []byte(sql), 100)) }
	h := hash("SELECT a FROM t WHERE b = 1")
	if h != hash("select  A\nfrom T where b='x' -- c") {
		t.Error("case, blanks or values count")
	}
	if h == hash("SELECT a FROM t WHERE c = 1") {
		t.Error("names do not count")
	}
	// The numbers end up in logs that are compared over years.
	if want := uint64(0xadb0ddec8c309869); h != want {
		t.Errorf("%#x, want %#x", h, want)
	}
}
