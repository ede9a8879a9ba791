package lex

// Scan reads sql, the text of a COM_QUERY or COM_STMT_PREPARE, and says what it
// may do. ascii says that the connection's character_set_client is one in which
// every byte below 0x80 is the ASCII character, as in utf8mb4 and latin1; in
// sjis, gbk or big5 such a byte may be half of a character, in swe7 another one.
// It allocates nothing and looks at 16 KiB at most.
func Scan(sql []byte, ascii bool) Traits {
	if !ascii || len(sql) > window {
		return everything
	}
	s := scanner{lexer: lexer{b: sql}}
	for {
		switch s.next() {
		case kindEnd:
			return s.t
		case kindCode, kindOdd, kindOddNumber, kindBadQuote, kindBad:
			return everything | s.t
		case kindSemicolon:
			s.ended = true
			continue
		}
		if s.ended || !s.begun {
			if s.begun && (s.verb == verbSet || s.t&Holds != 0) {
				// It may have changed character_set_client, in which the server
				// reads what follows. A KILL there is looked for all the same.
				s.t |= everything
			}
			if s.ended {
				s.t |= Multi
			}
			s.begin()
		} else {
			s.step()
		}
		s.before, s.last = s.last, s.seen()
	}
}

// seen is what is remembered of a token when the next ones are judged.
type seen struct {
	kind kind
	ch   byte
	id   id
	call call
	end  int
}

// scanner judges statements token by token.
type scanner struct {
	lexer
	t            Traits
	begun, ended bool // a statement, and its semicolon, have been seen
	verb         verb
	last, before seen // the token before this one, and the one before that

	// SHOW: it is not clear yet what. A query in parentheses: it has not begun.
	// START, RELEASE: TRANSACTION, SAVEPOINT is to come. ROLLBACK: TO has come.
	open   bool
	global bool   // SHOW GLOBAL
	target target // INSERT: where its table's name is
	set    setter
}

func (s *scanner) seen() seen {
	v := seen{kind: s.kind, ch: s.ch, end: s.end}
	if s.kind == kindWord && s.word != nil {
		v.id, v.call = s.word.id, s.word.call
	}
	return v
}

// begin judges the first token of a statement.
func (s *scanner) begin() {
	s.begun, s.ended = true, false
	s.verb, s.open, s.global, s.target, s.set = verbOther, false, false, targetNone, setter{}
	s.last, s.before = seen{}, seen{}
	switch {
	case s.kind == kindPunct && s.ch == '(':
		s.verb, s.open = verbQuery, true
		return
	case s.kind == kindWord && s.word != nil:
		s.verb = s.word.verb
		s.t |= s.word.traits & Names // TABLE t
	}
	switch s.verb {
	case verbOther:
		s.any()
	case verbKill:
		s.any()
		s.t |= Kills
	case verbInsert:
		s.t |= Names
		s.target = targetBefore
	case verbWrite, verbExplain:
		s.t |= Names
	case verbShow, verbStart, verbRelease, verbSavepoint:
		s.open = true
	case verbSet:
		s.t |= Sets
	}
}

// any takes the statement for one that may do whatever a statement can.
func (s *scanner) any() {
	s.verb = verbOther
	s.t |= Names | Holds | Sets | Previous
}

// step judges a token behind the first one.
func (s *scanner) step() {
	switch s.verb {
	case verbOther:
		return
	case verbBegin, verbStart, verbCommit, verbRollback, verbSavepoint, verbRelease:
		s.transaction()
		return
	case verbSet:
		s.assign()
		return
	case verbShow:
		if s.open {
			s.shown()
		}
	case verbInsert:
		if s.target != targetNone && s.intoTable() {
			return
		}
	case verbQuery:
		if s.open {
			s.inParentheses()
		}
	}
	s.token()
}

// inParentheses waits for the first word behind opening parentheses.
func (s *scanner) inParentheses() {
	switch {
	case s.kind == kindPunct && s.ch == '(':
	case s.kind == kindWord && s.word != nil && s.word.verb == verbQuery:
		s.open = false
	default:
		s.any()
	}
}

// token judges a token of an expression or a clause.
func (s *scanner) token() {
	switch s.last.id {
	case idFrom:
		if s.kind != kindWord || s.word == nil || s.word.id != idDual {
			s.t |= Names
		}
	case idInto:
		if s.t |= Sets; s.kind != kindUser {
			s.t |= Holds // a file
		}
	case idValue:
		if s.kind == kindWord && s.word != nil && s.word.id == idFor {
			s.t |= Names | Sets | Previous // NEXT VALUE FOR a sequence
		}
	}
	if s.last.ch == '(' && s.before.id == idLastInsertID && s.ch != ')' {
		s.t |= Sets
	}
	switch s.kind {
	case kindWord:
		if s.word == nil {
			break
		}
		s.t |= s.word.traits
		if s.word.id == idUpdate && s.last.id != idFor {
			s.t |= Names // WITH a AS (SELECT 1) UPDATE t
		}
	case kindName, kindDouble:
		if s.word != nil {
			s.t |= s.word.traits & Previous
		}
	case kindUser:
		s.t |= Previous
	case kindSystem:
		s.t |= s.reads()
	case kindAssign:
		s.t |= Sets
	case kindPunct:
		s.punct()
	}
}

func (s *scanner) punct() {
	switch s.ch {
	case '(':
		s.called()
	case '.':
		s.t |= Names
		if s.last.kind == kindSystem {
			s.t |= everything // @@session . x
		}
	case ',':
		if s.last.id == idDual {
			s.t |= Names
		}
	}
}

// called judges what stands before an opening parenthesis.
func (s *scanner) called() {
	touches := s.last.end == s.at
	switch s.last.kind {
	case kindPunct, kindAssign:
		return
	case kindWord, kindName, kindDouble:
		if s.before.ch == '.' {
			break // of a schema: a built-in of that name is not meant
		}
		switch {
		case s.last.call == callSyntax || s.last.call == callNative || s.last.call == callTouching && touches:
			return
		case s.last.id == idAgainst && s.before.ch == ')': // MATCH (a) AGAINST (
			return
		case s.before.id == idAs || s.before.id == idWith || s.before.id == idRecursive: // CAST(a AS type(9)), WITH a (b) AS
			return
		}
	default:
		s.t |= everything // no place for a parenthesis
		return
	}
	s.t |= Names | Holds | Previous
}

// target is where an INSERT is with the name of its table, behind which a
// parenthesis opens a list of columns.
type target uint8

const (
	targetNone   target = iota
	targetBefore        // options, INTO
	targetName          // a name, perhaps with a point to come
	targetPoint         // behind the point
)

// intoTable says whether the token is part of the way to the table's name, or
// the parenthesis behind it.
func (s *scanner) intoTable() bool {
	name := s.kind == kindWord || s.kind == kindName || s.kind == kindDouble
	switch s.target {
	case targetBefore:
		if s.kind == kindWord && oneOf(s.text(), "into", "ignore", "low_priority", "high_priority", "delayed") {
			return true
		}
		if name {
			s.target = targetName
			return true
		}
	case targetName:
		if s.ch == '.' {
			s.target = targetPoint
			return true
		}
		if s.ch == '(' {
			s.target = targetNone
			return true
		}
	case targetPoint:
		if name {
			s.target = targetName
			return true
		}
	}
	s.target = targetNone
	return false
}

func oneOf(b []byte, names ...string) bool {
	for _, name := range names {
		if equalFold(b, name) {
			return true
		}
	}
	return false
}
