package lex

// setter follows a SET, which gives values to one thing after the other:
//
//	SET autocommit=1, @x=2, NAMES utf8mb4, SESSION time_zone='+00:00'
type setter struct {
	part  part
	some  bool // it is not the first one
	scope bool // behind SESSION or LOCAL
	depth int  // of parentheses in a value
}

type part uint8

const (
	partTarget      part = iota // what is to get a value
	partEquals                  // its = or :=
	partValue                   //
	partCharacter               // SET CHARACTER: SET is to come
	partNames                   // a character set and a collation
	partTransaction             // characteristics, for SET TRANSACTION
)

// assign judges the tokens behind SET. What a SET may do is what its targets are:
// all forms but those known here (SET ROLE, SET PASSWORD, SET STATEMENT, SET
// GLOBAL, a variable that is not listed) are taken for anything.
func (s *scanner) assign() {
	p := &s.set
	if s.ch == ',' && p.depth == 0 && (p.part == partValue || p.part == partNames) {
		*p = setter{some: true}
		return
	}
	switch p.part {
	case partTarget:
		s.setTarget()
	case partEquals:
		if s.kind != kindAssign && s.ch != '=' {
			s.any()
		}
		p.part = partValue
	case partValue:
		switch s.ch {
		case '(':
			p.depth++
		case ')':
			p.depth--
		}
		s.token()
	case partCharacter:
		if s.kind != kindWord || !oneOf(s.text(), "set") {
			s.any()
		}
		p.part = partNames
	case partNames:
		if s.kind != kindWord && s.kind != kindString && s.kind != kindDouble {
			s.any()
		}
	case partTransaction:
		if s.ch != ',' && (s.kind != kindWord || !oneOf(s.text(),
			"isolation", "level", "read", "committed", "uncommitted", "repeatable", "serializable", "only", "write")) {
			s.any()
		}
	}
}

func (s *scanner) setTarget() {
	p := &s.set
	p.part = partEquals
	switch s.kind {
	case kindUser:
		if !p.scope {
			return
		}
	case kindSystem:
		local := s.scope == nil || s.scope.id == idSession || s.scope.id == idLocal
		if local && s.settable() && !p.scope {
			return
		}
	case kindWord:
		w := s.text()
		switch {
		case s.settable():
			return
		case s.word != nil && s.word.id == idTransaction && !p.some:
			p.part = partTransaction
			return
		case p.scope:
		case oneOf(w, "session", "local"):
			p.part, p.scope = partTarget, true
			return
		case oneOf(w, "names", "charset"):
			p.part = partNames
			return
		case oneOf(w, "char", "character"):
			p.part = partCharacter
			return
		}
	}
	s.any()
}
