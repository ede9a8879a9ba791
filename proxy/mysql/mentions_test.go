package mysql

import "testing"

func TestStatementsThatNoResetUndoesAreFoundByTheirWords(t *testing.T) {
	for sql, want := range map[string]bool{
		"XA START 'a'": true, "xa\nend 'a'": true, "EXECUTE IMMEDIATE 'XA PREPARE \"a\"'": true, "/*!XA*/": true,
		"SET profiling=1": true, "SET @@session.Profiling = 1": true, "set profiling_history_size=3": true,
		"SET log_slow_min_examined_row_limit=1": false, "CREATE TABLE xaver (a INT)": false, "SET @myprofiling=1": false, "XA": false, "": false,
	} {
		if got := spoils([]byte(sql)); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
	if !asksFoundRows([]byte("SELECT found_rows()")) || asksFoundRows([]byte("SELECT lost_and_found_rows()")) {
		t.Error("FOUND_ROWS is not found, or where it is not")
	}
}

func TestWordsAreFoundAcrossPieces(t *testing.T) {
	for sql, want := range map[string]bool{
		"SET @p = 1; SET profiling = 1": true, "SET @p = 1; XA START 'x'": true, "SET @p = 1; SET xaver = 1": false, "SELECT 'a long one without any of them'": false,
	} {
		for size := 1; size < len(sql); size++ {
			var x straddled
			found := false
			for at := 0; at < len(sql); at += size {
				found = x.spoil([]byte(sql[at:min(at+size, len(sql))])) || found
			}
			if want && !found || !want && found && size > longestWord {
				t.Errorf("%q in pieces of %d: %v", sql, size, found)
			}
		}
	}
}
