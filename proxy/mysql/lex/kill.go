package lex

// KillStatement is KILL [HARD|SOFT] [CONNECTION|QUERY [ID]] number.
type KillStatement struct {
	Query     bool   // the statement is to end, not the connection
	ByQueryID bool   // ID is a query's, not a connection's
	ID        uint64 // the number
	At, End   int    // the number is sql[At:End]
}

// Kill reads sql if it is one KILL with a plain decimal number. ok is false for
// all else: KILL USER, a number that does not fit, an expression, several
// statements. It costs next to nothing for a text that begins with another word.
func Kill(sql []byte) (k KillStatement, ok bool) {
	if !mayBegin(sql, 'k') || len(sql) > window {
		return k, false
	}
	l := lexer{b: sql}
	word := func(name string) bool {
		if l.kind != kindWord || !equalFold(l.text(), name) {
			return false
		}
		l.next()
		return true
	}
	l.next()
	if !word("kill") {
		return k, false
	}
	if !word("hard") {
		word("soft")
	}
	if !word("connection") && word("query") {
		k.Query, k.ByQueryID = true, word("id")
	}
	if l.kind != kindNumber {
		return KillStatement{}, false
	}
	k.At, k.End = l.at, l.end
	if k.ID, ok = decimal(l.text()); !ok {
		return KillStatement{}, false
	}
	for l.next() == kindSemicolon {
	}
	if l.kind != kindEnd {
		return KillStatement{}, false
	}
	return k, true
}

// mayBegin says whether a text may have a word with that first letter as its
// first one: it begins with the letter, or with a comment.
func mayBegin(sql []byte, first byte) bool {
	for _, c := range sql {
		if classes[c] != blank {
			return lower(c) == first || c == '/' || c == '-' || c == '#'
		}
	}
	return false
}

func decimal(b []byte) (n uint64, ok bool) {
	for _, c := range b {
		d := uint64(c - '0')
		if classes[c] != digit || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// ConnectionID says whether sql is SELECT CONNECTION_ID() and nothing else but
// blanks and a semicolon, so that it can be answered without a server.
func ConnectionID(sql []byte) bool {
	rest := sql
	for i, part := range [...]string{"select", "connection_id", "(", ")", ";"} {
		if i != 1 {
			rest = unblank(rest)
		} else if r := unblank(rest); len(r) < len(rest) {
			rest = r
		} else {
			return false
		}
		switch {
		case len(rest) >= len(part) && equalFold(rest[:len(part)], part):
			rest = rest[len(part):]
		case part != ";":
			return false
		}
	}
	return len(unblank(rest)) == 0
}

func unblank(b []byte) []byte {
	for len(b) > 0 && classes[b[0]] == blank {
		b = b[1:]
	}
	return b
}
