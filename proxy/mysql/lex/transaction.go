package lex

// transaction judges the tokens behind BEGIN, START, COMMIT, ROLLBACK, SAVEPOINT
// and RELEASE. BEGIN NOT ATOMIC, or BEGIN in Oracle's mode, starts a program;
// START may start a replica.
func (s *scanner) transaction() {
	w := s.text()
	ok := false
	switch s.kind {
	case kindWord:
		switch s.verb {
		case verbBegin:
			ok = oneOf(w, "work")
		case verbStart:
			if s.open {
				ok = s.word != nil && s.word.id == idTransaction
			} else {
				ok = oneOf(w, "with", "consistent", "snapshot", "read", "only", "write")
			}
			s.open = false
		case verbCommit:
			ok = oneOf(w, "work", "and", "no", "chain", "release")
		case verbRollback:
			ok = s.open || oneOf(w, "work", "and", "no", "chain", "release", "to")
			s.open = s.open || oneOf(w, "to")
		case verbRelease:
			ok = !s.open || oneOf(w, "savepoint")
			s.open = false
		case verbSavepoint:
			ok = true
		}
	case kindName, kindDouble:
		// The name of a savepoint: names alone call nothing.
		ok = s.verb == verbSavepoint || s.verb == verbRollback && s.open || s.verb == verbRelease && !s.open
	case kindPunct:
		ok = s.verb == verbStart && s.ch == ','
	}
	if !ok {
		s.any()
	}
}
