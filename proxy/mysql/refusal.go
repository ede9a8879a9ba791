package mysql

import (
	"errors"
	"fmt"

	"weir/proxy/mysql/wire"
)

// Refusal is an ERR that the backend answered with, kept beyond the buffer that
// it came in.
type Refusal struct {
	Code  wire.Code
	State string // empty where the server sent none
	Text  string
}

func refusalOf(e *wire.ERR) *Refusal {
	return &Refusal{e.Code, string(e.State), string(e.Text)}
}

func (r *Refusal) Error() string { return fmt.Sprintf("the server says: %s (%d)", r.Text, r.Code) }

// append writes the ERR again, for a client.
func (r *Refusal) append(dst []byte, caps wire.Caps) []byte {
	state := r.State
	if state == "" {
		state = wire.State(r.Code)
	}
	return wire.AppendERRState(dst, caps, r.Code, state, r.Text)
}

// keyOnly says whether the refusal concerns the user or the database that was
// asked for, and not the server as a whole.
func (r *Refusal) keyOnly() bool {
	switch r.Code {
	case wire.CodeTooManyConnections, wire.CodeHostBlocked, wire.CodeShutdown, wire.CodeHostNotAllowed:
		return false
	}
	return true
}

// errNoSecret is why a login at the backend cannot be made yet.
var errNoSecret = errors.New("only the native_hash of this user is known, and it takes one client's login to use it at the backend")
