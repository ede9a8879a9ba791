package lex

// Classes of bytes that all character sets with ASCII inside agree on. Bytes
// from 0x80 are letters in one, blanks in another: they have no class.
const (
	blank  = 1 << iota // as isspace: tab, newline, vertical tab, form feed, return, space
	letter             // or an underline
	digit
	dollar // part of a word, but not its first byte: MySQL begins a quoted text with it
	other  // what stands for itself

	inWord = letter | digit | dollar
)

var classes = func() (c [256]uint8) {
	for _, b := range []byte("\t\n\v\f\r ") {
		c[b] = blank
	}
	for b := 'a'; b <= 'z'; b++ {
		c[b], c[b-'a'+'A'] = letter, letter
	}
	c['_'] = letter
	for b := '0'; b <= '9'; b++ {
		c[b] = digit
	}
	c['$'] = dollar
	for _, b := range []byte("!%&()*+,-./<=>?^|~") {
		c[b] = other
	}
	return c
}()

// lower is b in lower case.
func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b | 0x20
	}
	return b
}

// equalFold says whether b is name but for case. name is in lower case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if lower(c) != name[i] {
			return false
		}
	}
	return true
}
