package lex

// Reads says what a text reads, by name, of what earlier statements of its
// connection left. It tells apart what Previous has together. What a stored
// routine, a view or a trigger reads is not in the text.
type Reads uint8

const (
	ReadsRowCount  Reads = 1 << iota // ROW_COUNT()
	ReadsFoundRows                   // FOUND_ROWS()
	ReadsInsertID                    // LAST_INSERT_ID(), @@identity
	ReadsWarnings                    // SHOW WARNINGS and ERRORS, GET DIAGNOSTICS, @@warning_count
	ReadsGTID                        // @@last_gtid
)

// place is where a name has to stand to mean what it says.
type place uint8

const (
	asWord   place = iota // anywhere: functions may be called with blanks before the parenthesis
	asShown               // in SHOW or GET
	asSystem              // behind @@
)

// readers are the names, in small letters.
var readers = map[string]struct {
	reads Reads
	place place
}{
	"row_count":     {ReadsRowCount, asWord},
	"rowcount":      {ReadsRowCount, asWord}, // SQL%ROWCOUNT, with sql_mode=ORACLE as the next two
	"sqlcode":       {ReadsWarnings, asWord},
	"sqlerrm":       {ReadsWarnings, asWord},
	"found_rows":    {ReadsFoundRows, asWord},
	insertID:        {ReadsInsertID, asWord}, // and behind @@
	"identity":      {ReadsInsertID, asSystem},
	"warnings":      {ReadsWarnings, asShown},
	"errors":        {ReadsWarnings, asShown},
	"diagnostics":   {ReadsWarnings | ReadsRowCount, asShown},
	"warning_count": {ReadsWarnings, asSystem},
	"error_count":   {ReadsWarnings, asSystem},
	"last_gtid":     {ReadsGTID, asSystem},
}

const (
	insertID      = "last_insert_id"
	longestReader = len(insertID)
)

// ReadsOf says what sql reads; see Scan for ascii. A text that cannot be read for
// certain, and one that a PREPARE or an EXECUTE IMMEDIATE carries in a string,
// reads what is named anywhere in it. It allocates nothing.
func ReadsOf(sql []byte, ascii bool) (r Reads) {
	if !ascii || len(sql) > window {
		return named(sql)
	}
	l := lexer{b: sql}
	first := []byte(nil) // word of the statement
	for {
		switch l.next() {
		case kindEnd:
			return r
		case kindCode, kindOdd, kindOddNumber, kindBadQuote, kindBad:
			return named(sql)
		case kindSemicolon:
			first = nil
		case kindWord, kindName, kindDouble:
			word := unquote(l.text())
			if first == nil {
				first = word
				if oneOf(first, "prepare", "execute") {
					return named(sql)
				}
				continue
			}
			r |= reader(word, asWord)
			if l.kind == kindWord && oneOf(first, "show", "get") {
				r |= reader(word, asShown)
			}
		case kindSystem:
			word := afterPoint(l.text())
			r |= reader(word, asSystem) | reader(word, asWord)&ReadsInsertID
		}
	}
}

// named looks at every word of a text, wherever it stands.
func named(sql []byte) Reads {
	var w Words
	w.Feed(sql)
	return w.End()
}

// Words finds what a text reads that comes in pieces, of which none is kept. It
// is fit for texts that are not looked at closer: it takes every word for what it
// would be outside of strings and comments.
type Words struct {
	found Reads
	n     int // buf[:n] is the word so far; one more than fits is too long
	buf   [longestReader]byte
}

// Feed takes the next piece.
func (w *Words) Feed(piece []byte) {
	for _, c := range piece {
		switch {
		case c >= 0x80 || classes[c]&inWord == 0:
			w.end()
		case w.n < len(w.buf):
			w.buf[w.n] = lower(c)
			w.n++
		default:
			w.n = len(w.buf) + 1
		}
	}
}

func (w *Words) end() {
	if w.n > 0 && w.n <= len(w.buf) {
		w.found |= readers[string(w.buf[:w.n])].reads
	}
	w.n = 0
}

// Found is what the words that have ended read.
func (w *Words) Found() Reads { return w.found }

// End says that nothing follows, and returns what all of it reads.
func (w *Words) End() Reads {
	w.end()
	return w.found
}

// reader is what a word in that place reads.
func reader(word []byte, at place) Reads {
	if len(word) > longestReader {
		return 0
	}
	var b [longestReader]byte
	for i, c := range word {
		b[i] = lower(c)
	}
	if v := readers[string(b[:len(word)])]; v.place == at {
		return v.reads
	}
	return 0
}

// unquote takes the quotes off a name. Quotes within it stay doubled: no name
// that matters has any.
func unquote(b []byte) []byte {
	if n := len(b); n >= 2 && (b[0] == '`' || b[0] == '"') {
		return b[1 : n-1]
	}
	return b
}

// afterPoint is the name of a system variable without @@ and scope.
func afterPoint(b []byte) []byte {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '.' || b[i] == '@' {
			return b[i+1:]
		}
	}
	return b
}

// FirstWord is the word that a statement begins with, behind comments and
// parentheses; empty if it begins with something else.
func FirstWord(sql []byte) []byte {
	l := lexer{b: sql[:min(len(sql), window)]}
	for {
		switch l.next() {
		case kindWord:
			return l.text()
		case kindPunct:
			if l.ch == '(' {
				continue
			}
		}
		return nil
	}
}
