package lex

import (
	"unicode"
	"unicode/utf8"
)

// Digest appends to dst what sql looks like without its values, in one line of
// at most max bytes, for a log:
//
//	SELECT a FROM t WHERE b IN (?+) AND c = ?
//
// Strings, numbers and what stands in double quotes become ?, lists of them
// (?+), and equal rows of VALUES one row; NULL stays. Comments are left out, the
// code of executable ones is not. Keywords and names stay as they were written,
// but for bytes that are not printable. At the first place where the modes of a
// server disagree on whether a literal goes on, and where the text is cut, the
// digest ends with three points: no byte of a literal is ever shown. That holds
// for the character sets that Scan calls ascii; in others a literal may seem to
// end before it does, so make no digest of them. Of a text longer than 16 KiB
// only the start is looked at.
func Digest(dst, sql []byte, max int) []byte {
	d := digester{out: dst, base: len(dst), room: len(dst) + max - len(cutMark)}
	if max < len(cutMark) {
		return dst
	}
	cut := len(sql) > window
	d.b = sql[:min(len(sql), window)]
	for !d.full {
		switch d.next() {
		case kindEnd:
			if cut {
				d.cut()
			}
			return d.out
		case kindBad:
			d.cut()
		case kindBadQuote:
			d.literal()
			d.cut()
		default:
			d.add()
		}
	}
	return d.out
}

const cutMark = "..."

// DigestHash is a number for digest, which Digest has made: the same in every run,
// for letters of either case (64-bit FNV-1a). Digests that were cut have the same
// number only if they were made with the same max.
func DigestHash(digest []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range digest {
		h = (h ^ uint64(lower(c))) * 1099511628211
	}
	return h
}

// digester writes what the lexer finds.
type digester struct {
	lexer
	out  []byte
	base int  // of out: what stood there before
	room int  // of out: where a token must end
	full bool // nothing more fits, or may follow

	last wrote
	in   bool // the last token was IN
	semi bool // a semicolon waits for something behind it

	sign   int   // of out: where a sign was written that goes if a number follows, or -1
	signed wrote // what was written before it

	lists
}

// wrote is what was written last; blanks and signs depend on it.
type wrote uint8

const (
	wroteNothing  wrote = iota // or a semicolon
	wroteOpen                  // a parenthesis
	wrotePoint                 //
	wroteKeyword               //
	wroteOperator              // or a comma
	wroteName                  // or a function's
	wroteLiteral               //
	wroteClose                 //
)

// cut ends the digest.
func (d *digester) cut() {
	if !d.full {
		d.full = true
		d.out = append(d.out, cutMark...)
	}
}

// put writes b and the blank before it, if there is room; blank is false for
// what touches the token before it.
func (d *digester) put(b []byte, blank bool) bool {
	n := len(b)
	if d.semi {
		n++
	}
	if len(d.out)+1+n > d.room {
		d.cut()
		return false
	}
	if d.semi {
		d.out = append(d.out, ';')
		d.semi = false
	}
	if blank && d.last != wroteOpen && d.last != wrotePoint && len(d.out) > d.base {
		d.out = append(d.out, ' ')
	}
	d.out = appendPrintable(d.out, b)
	return true
}

// add writes one token.
func (d *digester) add() {
	in := d.in
	d.in = false
	switch d.kind {
	case kindCode:
		d.in = in
	case kindSemicolon:
		d.semi = len(d.out) > d.base
		d.last = wroteNothing
	case kindString, kindDouble:
		d.literal()
	case kindNumber, kindOddNumber:
		if d.last == wroteOperator && d.sign >= 0 {
			d.out, d.last = d.out[:d.sign], d.signed
		}
		d.literal()
	case kindPunct:
		d.punct(in)
	case kindOdd:
		if d.b[d.at] == '.' { // t.5, which is a number elsewhere
			d.literal()
			return
		}
		d.name()
	default:
		d.name()
	}
}

func (d *digester) name() {
	b := d.text()
	keyword := d.kind == kindAssign
	switch d.kind {
	case kindUser:
		if classes[b[1]]&inWord == 0 && b[1] != '.' {
			b = []byte("@?") // the name stands in quotes
		}
	case kindWord:
		keyword = d.word != nil && d.word.call == callSyntax
	}
	d.notList()
	if !d.put(b, true) {
		return
	}
	if d.last = wroteName; keyword {
		d.last = wroteKeyword
	}
	d.in = d.kind == kindWord && d.word != nil && d.word.id == idIn
	d.sign = -1
}

// literal writes a question mark, one for strings in a row.
func (d *digester) literal() {
	if d.last == wroteLiteral || !d.put([]byte("?"), true) {
		return
	}
	d.last = wroteLiteral
	d.value()
}

func (d *digester) punct(in bool) {
	b, last := d.operator(), d.last
	switch b[0] {
	case '(':
		if d.put(b, last != wroteName) {
			// Behind a name they are arguments, whose number matters.
			d.open(len(d.out)-1, last != wroteName, in)
			d.last = wroteOpen
		}
	case ')':
		if d.put(b, false) {
			d.out = d.close(d.out)
			d.last = wroteClose
		}
	case ',':
		if d.put(b, false) {
			d.last, d.sign = wroteOperator, -1
		}
	case '.':
		d.notList()
		if d.put(b, false) {
			d.last = wrotePoint
		}
	case '?':
		d.literal()
	default:
		at := len(d.out)
		unary := last < wroteName && last != wrotePoint && len(b) == 1 && (b[0] == '-' || b[0] == '+')
		if !unary {
			d.notList()
		}
		if !d.put(b, true) {
			return
		}
		d.last, d.sign = wroteOperator, -1
		switch {
		case unary:
			d.sign, d.signed = at, last
		case b[0] == '*' && last < wroteName:
			d.last = wroteName // SELECT *, t.*
		}
	}
}

// operators are those of more than one byte, longer ones first.
var operators = [...]string{"<=>", "->>", "<=", ">=", "<>", "!=", "||", "&&", "<<", ">>", "->"}

// operator is the operator at the token's place; the lexer gives single bytes.
func (d *digester) operator() []byte {
	for _, o := range operators {
		if len(d.b)-d.at >= len(o) && string(d.b[d.at:d.at+len(o)]) == o {
			d.end = d.at + len(o)
			break
		}
	}
	return d.text()
}

// appendPrintable appends b with a question mark for each byte that is not part
// of a printable character.
func appendPrintable(dst, b []byte) []byte {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) {
			dst, b = append(dst, '?'), b[1:]
			continue
		}
		dst, b = append(dst, b[:n]...), b[n:]
	}
	return dst
}
