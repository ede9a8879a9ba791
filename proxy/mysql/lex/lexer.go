package lex

// window is how many bytes of a text are looked at. What is longer is Unknown,
// so that no client buys much work with one packet.
const window = 16 << 10

// kind is what a token is.
type kind uint8

const (
	kindEnd       kind = iota
	kindWord           // a keyword or a bare name
	kindName           // in backquotes
	kindString         // in single quotes, with the x, b or n before it
	kindDouble         // in double quotes: a string, or a name under ANSI_QUOTES
	kindNumber         //
	kindUser           // a user variable, with its @
	kindSystem         // a system variable, with its @@ and scope
	kindAssign         // :=
	kindSemicolon      //
	kindPunct          // one byte
	kindCode           // the start of an executable comment or a hint, if it has a plain end
	kindOdd            // readable, but not the same for every server: one byte, or a word
	kindOddNumber      // begins like a number and goes on as something else
	kindBadQuote       // a quote that does not end, or ends in different places
	kindBad            // nothing behind it can be trusted
)

// lexer takes a text apart. The fields below b describe the token that next
// found last.
type lexer struct {
	b    []byte
	code bool // inside an executable comment

	kind    kind
	ch      byte // of kindPunct
	at, end int
	word    *word // of kindWord, kindSystem and the quoted ones: what is known about it, or nil
	scope   *word // of kindSystem: session in @@session.x, nil if there is none
}

// next finds the next token and returns its kind.
func (l *lexer) next() kind {
	last, lastEnd := l.kind, l.end
	i, ok := l.skip(l.end)
	l.at, l.word, l.ch = i, nil, 0
	switch {
	case !ok:
		return l.is(kindBad, len(l.b))
	case i == len(l.b):
		return l.is(kindEnd, i)
	}
	c := l.b[i]
	switch classes[c] {
	case letter:
		return l.bareWord(i)
	case digit:
		return l.number(i)
	case other:
		if c == '/' && l.byte(i+1) == '*' {
			return l.codeComment(i)
		}
		if c == '.' && classes[l.byte(i+1)]&digit != 0 {
			if i == lastEnd && i > 0 && last != kindPunct {
				return l.odd(i) // t.5 may be a column
			}
			return l.number(i)
		}
		l.ch = c
		return l.is(kindPunct, i+1)
	}
	switch c {
	case '\'':
		return l.quoted(i, kindString)
	case '"':
		return l.quoted(i, kindDouble)
	case '`':
		return l.quoted(i, kindName)
	case ';':
		return l.is(kindSemicolon, i+1)
	case '@':
		return l.variable(i)
	case ':':
		if l.byte(i+1) == '=' {
			return l.is(kindAssign, i+2)
		}
		return l.is(kindOdd, i+1)
	case '[', ']', '{', '}', '\\':
		return l.is(kindOdd, i+1)
	}
	if c >= 0x80 {
		return l.odd(i)
	}
	return l.is(kindBad, i) // a control byte, or the $ of a MySQL quote
}

func (l *lexer) is(k kind, end int) kind {
	l.kind, l.end = k, end
	return k
}

// odd takes what looks like a word, of letters that only some sets know.
func (l *lexer) odd(i int) kind {
	for i < len(l.b) && (l.b[i] >= 0x80 || classes[l.b[i]]&inWord != 0 || l.b[i] == '.') {
		i++
	}
	return l.is(kindOdd, i)
}

// byte is the byte at i, or 0 behind the end.
func (l *lexer) byte(i int) byte {
	if i < len(l.b) {
		return l.b[i]
	}
	return 0
}

// text is the token as it was written.
func (l *lexer) text() []byte { return l.b[l.at:l.end] }

func (l *lexer) bareWord(i int) kind {
	h := uint32(hashStart)
	j := i
	for ; j < len(l.b) && classes[l.b[j]]&inWord != 0; j++ {
		h = hashByte(h, l.b[j])
	}
	w := lookup(l.b[i:j], h)
	switch c := l.byte(j); {
	case c >= 0x80:
		return l.odd(i)
	case c != '\'' || l.b[i] == '_' || w != nil: // _utf8mb4'x', LIKE'x': the string is a token of its own
		l.word = w
		return l.is(kindWord, j)
	case j == i+1 && (lower(l.b[i]) == 'x' || lower(l.b[i]) == 'b' || lower(l.b[i]) == 'n'):
		return l.quoted(j, kindString)
	}
	return l.is(kindBad, i) // a way to quote that is not known here, as Oracle's q'[x]', or an alias
}

// number takes what every mode reads as a number: digits with a point and an
// exponent, 0x1f and 0b01 (0X1F is a name).
func (l *lexer) number(i int) kind {
	j, ok := i, true
	switch {
	case l.b[i] == '0' && l.byte(i+1) == 'x':
		for j += 2; isHex(l.byte(j)); j++ {
		}
		ok = j > i+2
	case l.b[i] == '0' && l.byte(i+1) == 'b':
		for j += 2; l.byte(j) == '0' || l.byte(j) == '1'; j++ {
		}
		ok = j > i+2
	default:
		j = l.digits(j)
		if l.byte(j) == '.' {
			j = l.digits(j + 1)
		}
		if lower(l.byte(j)) == 'e' {
			k := j + 1
			if c := l.byte(k); c == '+' || c == '-' {
				k++
			}
			if j = l.digits(k); j == k {
				ok = false
			}
		}
	}
	if c := l.byte(j); ok && c < 0x80 && c != '.' && classes[c]&inWord == 0 {
		return l.is(kindNumber, j)
	}
	l.odd(j)
	return l.is(kindOddNumber, l.end)
}

func (l *lexer) digits(i int) int {
	for classes[l.byte(i)] == digit {
		i++
	}
	return i
}

func isHex(c byte) bool {
	c = lower(c)
	return classes[c] == digit || 'a' <= c && c <= 'f'
}

// variable takes @x, @'x', @@x and @@scope.x.
func (l *lexer) variable(i int) kind {
	j := i + 1
	switch c := l.byte(j); {
	case c == '@':
		return l.system(i, j+1)
	case c == '\'' || c == '"' || c == '`':
		return l.quoted(j, kindUser)
	}
	for c := l.byte(j); classes[c]&inWord != 0 || c == '.'; c = l.byte(j) {
		j++
	}
	if j == i+1 || l.byte(j) >= 0x80 {
		l.odd(j)
		return l.is(kindOdd, l.end)
	}
	return l.is(kindUser, j)
}

// system takes the names behind @@. MariaDB allows them in quotes, and blanks
// around the point; nobody writes so.
func (l *lexer) system(i, j int) kind {
	l.scope = nil
	for n := 0; n < 2; n++ {
		start, h := j, uint32(hashStart)
		if classes[l.byte(j)] != letter {
			break
		}
		for ; classes[l.byte(j)]&inWord != 0; j++ {
			h = hashByte(h, l.b[j])
		}
		l.word = lookup(l.b[start:j], h)
		if l.byte(j) != '.' {
			if l.byte(j) >= 0x80 {
				break
			}
			return l.is(kindSystem, j)
		}
		if l.scope = l.word; l.scope == nil {
			l.scope = &unlisted
		}
		j++
	}
	return l.is(kindOdd, max(j, i+2))
}
