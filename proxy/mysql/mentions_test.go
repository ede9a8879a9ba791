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
