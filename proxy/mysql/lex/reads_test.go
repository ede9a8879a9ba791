package lex

import (
	"strings"
	"testing"
)

func TestATextReadsWhatItNames(t *testing.T) {
	for sql, want := range map[string]Reads{
		"SELECT 1":             0,
		"SELECT ROW_COUNT()":   ReadsRowCount,
		"SELECT found_rows ()": ReadsFoundRows,
		"INSERT INTO t VALUES (LAST_INSERT_ID(), 1)":        ReadsInsertID,
		"SELECT `last_insert_id`()":                         ReadsInsertID,
		"SELECT @@last_insert_id, @@session.identity":       ReadsInsertID,
		"SELECT @@warning_count":                            ReadsWarnings,
		"SELECT @@SESSION.Error_Count":                      ReadsWarnings,
		"SHOW COUNT(*) WARNINGS":                            ReadsWarnings,
		"show errors limit 1":                               ReadsWarnings,
		"GET DIAGNOSTICS @a = ROW_COUNT":                    ReadsWarnings | ReadsRowCount,
		"SELECT @@last_gtid":                                ReadsGTID,
		"SELECT 1; SHOW WARNINGS":                           ReadsWarnings,
		"SHOW TABLES; SELECT warnings FROM errors":          0,
		"SELECT warnings, identity, last_gtid FROM errors":  0,
		"SELECT 'ROW_COUNT()' /* FOUND_ROWS() */ -- errors": 0,
		"PREPARE s FROM 'SELECT ROW_COUNT()'":               ReadsRowCount,
		"EXECUTE IMMEDIATE 'SHOW WARNINGS'":                 ReadsWarnings,
		"/*!50000 SELECT FOUND_ROWS() */":                   ReadsFoundRows,
		"/* a */ (SELECT LAST_INSERT_ID())":                 ReadsInsertID,
		"SELECT 'it\\'s', ROW_COUNT()":                      ReadsRowCount, // not to be read for certain
	} {
		if got := ReadsOf([]byte(sql), true); got != want {
			t.Errorf("%s: %05b, want %05b", sql, got, want)
		}
		if got := ReadsOf([]byte(sql), false); got&want != want {
			t.Errorf("%s, as it may be: %05b, want %05b in it", sql, got, want)
		}
	}
}

func TestWordsAreFoundInPiecesOfAnySize(t *testing.T) {
	const sql = "SELECT row_count(),last_insert_ids(),xlast_insert_id,a_word_that_is_far_too_long,Found_Rows()"
	for size := 1; size <= len(sql); size++ {
		var w Words
		for rest := sql; rest != ""; {
			n := min(size, len(rest))
			w.Feed([]byte(rest[:n]))
			rest = rest[n:]
		}
		if got := w.End(); got != ReadsRowCount|ReadsFoundRows {
			t.Errorf("in pieces of %d: %05b", size, got)
		}
	}
	if got := ReadsOf([]byte("SELECT '"+strings.Repeat("x", window)+"', ROW_COUNT()"), true); got != ReadsRowCount {
		t.Errorf("a long text: %05b", got)
	}
}

// Who asks ReadsOf only where Scan says Previous must miss nothing.
func FuzzWhatIsReadIsPrevious(f *testing.F) {
	for name := range readers {
		for _, sql := range []string{"SELECT %()", "SHOW %", "SELECT @@%", "GET % @a = NUMBER", "SELECT `%`()", "PREPARE a FROM '%'", "SELECT 1; SHOW %"} {
			f.Add([]byte(strings.ReplaceAll(sql, "%", name)))
		}
	}
	f.Fuzz(func(t *testing.T, sql []byte) {
		if r := ReadsOf(sql, true); r != 0 && Scan(sql, true)&(Previous|Unknown) == 0 {
			t.Errorf("%q reads %05b, and is %v", sql, r, Scan(sql, true))
		}
	})
}

func TestTheFirstWordIsBehindCommentsAndParentheses(t *testing.T) {
	for sql, want := range map[string]string{
		"": "", "SELECT 1": "SELECT", " /* x */ ( ( select": "select", "'SET'": "", "1": "", "/*!50000 SET */": "", "-- a\nSET": "SET",
	} {
		if got := string(FirstWord([]byte(sql))); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}
