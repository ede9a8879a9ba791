package lex

// verb is the kind of a statement.
type verb uint8

const (
	verbOther verb = iota // all that may leave anything
	verbQuery
	verbInsert
	verbWrite
	verbExplain
	verbShow
	verbSet
	verbBegin
	verbStart
	verbCommit
	verbRollback
	verbSavepoint
	verbRelease
	verbKill
)

// verbs are the words that a harmless statement may begin with.
var verbs = map[string]verb{
	"select": verbQuery, "with": verbQuery, "values": verbQuery, "table": verbQuery,
	"insert": verbInsert, "replace": verbInsert,
	"update": verbWrite, "delete": verbWrite,
	"explain": verbExplain, "desc": verbExplain, "describe": verbExplain,
	"show":  verbShow,
	"set":   verbSet,
	"begin": verbBegin, "start": verbStart, "commit": verbCommit, "rollback": verbRollback,
	"savepoint": verbSavepoint, "release": verbRelease,
	"kill": verbKill,
}

// show is what SHOW shows. What is not listed names a table or a routine.
type show uint8

const (
	showNamed    show = iota
	showPart          // an option before the word that says what
	showServer        // what is the same for all
	showPrevious      // what earlier statements left
	showValues        // as showPrevious, but of the server with GLOBAL
)

var shows = map[show]string{
	showPart:     `extended full global local session`,
	showServer:   `authors char character charset collation contributors databases engines grants plugins privileges processlist schemas`,
	showPrevious: `count errors profile profiles warnings`,
	showValues:   `status variables`,
}

// shown judges the words behind SHOW up to the one that says what.
func (s *scanner) shown() {
	if s.kind == kindWord && s.word != nil {
		switch s.word.show {
		case showPart:
			s.global = s.global || s.word.id == idGlobal
			return
		case showServer:
			s.open = false
			return
		case showValues:
			if s.global {
				s.open = false
				return
			}
			fallthrough
		case showPrevious:
			s.t |= Previous
			s.open = false
			return
		}
	}
	s.t |= Names | Previous
	s.open = false
}
