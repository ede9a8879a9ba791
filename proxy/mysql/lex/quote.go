package lex

import "bytes"

// quoted takes what stands in quotes, of which the first is at i; the token
// begins at l.at, which is before i if there is a prefix.
//
// With NO_BACKSLASH_ESCAPES, and in names, a backslash is a byte like others;
// without, it takes the next one's meaning away. The two agree on where the text
// ends unless a quote comes right behind an odd number of backslashes.
func (l *lexer) quoted(i int, k kind) kind {
	q, h := l.b[i], uint32(hashStart)
	plain := k == kindName || k == kindDouble // looked up, as it may be a name
	j := i + 1
	if q == '\'' { // values may be long: go to the next quote at once
		if n := bytes.IndexByte(l.b[j:], q); n >= 0 && bytes.IndexByte(l.b[j:j+n], '\\') < 0 {
			j += n
		}
	}
	for ; j < len(l.b); j++ {
		switch c := l.b[j]; c {
		case q:
			if l.byte(j+1) == q {
				j++
				plain = false
				continue
			}
			if plain {
				l.word = lookup(l.b[i+1:j], h)
			}
			return l.is(k, j+1)
		case '\\':
			if q == '`' {
				break
			}
			switch l.byte(j + 1) {
			case q:
				return l.is(kindBadQuote, len(l.b))
			case '\\':
				j++
			}
		case 0:
			// It ends a name in some servers.
			if q != '\'' {
				return l.is(kindBadQuote, len(l.b))
			}
		default:
			if plain {
				h = hashByte(h, c)
			}
		}
	}
	return l.is(kindBadQuote, len(l.b))
}

// skip goes over blanks and comments. It is not ok if a comment does not end, or
// ends elsewhere for some servers. It stops before what looks like a comment and
// is code.
func (l *lexer) skip(i int) (int, bool) {
	for i < len(l.b) {
		c := l.b[i]
		if classes[c] == blank {
			i++
			continue
		}
		switch c {
		case '#':
			n, ok := line(l.b[i:])
			if !ok {
				return i, false
			}
			i += n
		case '-':
			if l.byte(i+1) != '-' {
				return i, true
			}
			if i+2 < len(l.b) && classes[l.b[i+2]] != blank {
				// Other control bytes make it a comment as well, and some sets have
				// blanks among the high bytes. Two minus signs are rare enough.
				return i, l.b[i+2] >= ' ' && l.b[i+2] < 0x7f
			}
			n, ok := line(l.b[i:])
			if !ok {
				return i, false
			}
			i += n
		case '/':
			if l.byte(i+1) != '*' || isCode(l.b[i+2:]) {
				return i, true
			}
			n := bytes.Index(l.b[i+2:], []byte("*/"))
			if n < 0 || !simple(l.b[i+2:i+2+n]) {
				return i, false
			}
			i += n + 4
		case '*':
			if !l.code || l.byte(i+1) != '/' {
				return i, true
			}
			l.code = false
			i += 2
		default:
			return i, true
		}
	}
	return i, true
}

// line is the length of a comment up to the end of the line. A NUL ends it for
// some servers.
func line(b []byte) (int, bool) {
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		n = len(b)
	}
	return n, bytes.IndexByte(b[:n], 0) < 0
}

// simple says whether a comment has neither a NUL nor the start of another one
// in it: servers differ in whether comments nest.
func simple(b []byte) bool {
	return bytes.IndexByte(b, 0) < 0 && !bytes.Contains(b, []byte("/*")) && !bytes.HasSuffix(b, []byte("/"))
}

// isCode says whether a comment that goes on with b is read as SQL by some
// server: /*! by all, /*M! by MariaDB, /*+ by MySQL.
func isCode(b []byte) bool {
	switch {
	case len(b) > 0 && (b[0] == '!' || b[0] == '+'):
		return true
	case len(b) > 1 && lower(b[0]) == 'm' && b[1] == '!':
		return true
	}
	return false
}

// codeComment goes into an executable comment. Where it ends is certain only if
// nothing in it can hide the end from those that read it, or from those that do not.
func (l *lexer) codeComment(i int) kind {
	rest := l.b[i+2:]
	n := bytes.Index(rest, []byte("*/"))
	if n < 0 || l.code || !simple(rest[:n]) || bytes.ContainsAny(rest[:n], "'\"`#") || bytes.Contains(rest[:n], []byte("--")) {
		return l.is(kindBad, len(l.b))
	}
	j := i + 3
	if l.b[j-1] != '!' && l.b[j-1] != '+' {
		j++
	}
	for classes[l.byte(j)] == digit {
		j++
	}
	l.code = true
	return l.is(kindCode, j)
}
