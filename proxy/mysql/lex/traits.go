package lex

import "strings"

// Traits says what a text of SQL may do to its connection. The more bits, the
// less is known to be harmless; none is the best answer.
type Traits uint8

const (
	// Unknown: it could not be read for certain. All bits but Kills are set with
	// it, so who looks at a single bit is safe too.
	Unknown Traits = 1 << iota
	// Names: it names a table, a view, a sequence, a stored routine, or a function
	// that is not known to be built in, and so may run what is not in the text.
	Names
	// Holds: it may leave what another session can feel (a lock), what
	// COM_RESET_CONNECTION does not undo (the database, a role), or what silences
	// the session trackers.
	Holds
	// Sets: it may change state of the session that a reset undoes.
	Sets
	// Previous: it may read what earlier statements of the connection left, as
	// warnings, FOUND_ROWS, LAST_INSERT_ID, user variables or status counters.
	Previous
	// Multi: it is more than one statement.
	Multi
	// Kills: one of its statements begins with KILL. Kill reads the usual form; a
	// KILL that Kill does not read, with an expression for its number, must not
	// reach a server whose connection ids are not those that clients know.
	Kills

	everything = Unknown | Names | Holds | Sets | Previous | Multi
)

// Pure says that after such statements alone a connection is as good as after a
// reset, but for what Previous reads.
func (t Traits) Pure() bool { return t&(Unknown|Names|Holds|Sets) == 0 }

// Plain says that a reset when the connection is next handed over is soon enough.
func (t Traits) Plain() bool { return t&(Unknown|Holds) == 0 }

// String returns the bits' names, as names|sets, or pure for none.
func (t Traits) String() string {
	if t == 0 {
		return "pure"
	}
	var names []string
	for i, name := range [...]string{"unknown", "names", "holds", "sets", "previous", "multi", "kills"} {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}
