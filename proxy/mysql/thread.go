package mysql

import (
	"sync/atomic"
	"time"

	"weir/proxy/mysql/wire"
)

// thread is a connection to the backend, logged in: what the pool keeps with the
// socket (Lease.Attached). MySQL calls its end of it so. It belongs to whoever
// holds the connection, but for killed.
type thread struct {
	target
	id      uint32 // the server's number for it
	agreed  wire.Caps
	mariadb bool

	// restore is what puts the session into the state it was logged in with, as
	// packets: a reset, then what a reset leaves (the role, the character set).
	// The server was seen to take all of it, at the login, so that a client's
	// command may follow in the same write.
	restore []byte
	answers int  // to restore
	mayFail bool // a step of it may stop being taken, so nothing may follow in the same write

	status   wire.Status   // after the last answer
	idleMost time.Duration // the server's wait_timeout; 0 is unknown

	left      left   // what the last session left
	current   string // the default database
	lostTrack bool   // current may be another one: the trackers were, or may have been, silenced
	untracked bool   // the server has the tracker of the default database off
	multi     bool   // COM_SET_OPTION has changed what was agreed on
	mixed     bool   // this client's statements are, or were, in a character set as wire.ASCIIMixed
	timed     bool   // the socket has a read deadline, of query_timeout

	// For mode transaction:
	tracking bool   // the server tells of all changes that it can tell of
	changed  pin    // it told of one since the client's command began, and of what kind
	oneShot  bool   // it told of what SET TRANSACTION has said of the next one
	gave     uint64 // by whom it was given back, see sharing.gave

	// killed: a KILL was sent for this thread. It may arrive late, so nobody
	// else may have the connection.
	killed atomic.Bool
}

// left says what a session has left on its connection.
type left uint8

const (
	leftNothing left = iota // as after a reset
	leftAnswers             // nothing but what can be asked of an earlier statement: ROW_COUNT and the like
	leftState               // what a reset undoes, and nothing that others could feel until then
	leftHeld                // perhaps locks, or what a reset does not undo: to be undone at once
)

// asBefore says whether the default database and the options are those of the
// login, which a reset does not touch.
func (t *thread) asBefore() bool { return t.current == t.database && !t.lostTrack && !t.multi }

// track takes what the end of an answer tells of the session.
func (t *thread) track(r *wire.Response) {
	if r.By == wire.ByERR || r.By == wire.ByNothing {
		return
	}
	t.status = r.OK.Status.Session()
	if r.Partial {
		t.lostTrack = true
	}
	if len(r.OK.Track) == 0 {
		return
	}
	tr := wire.Tracks{Data: r.OK.Track}
	for tr.Next() {
		if tr.Kind == wire.TrackSchema && string(tr.Value) != t.current {
			t.current = string(tr.Value)
		}
		switch tr.Kind {
		case wire.TrackVariable:
			t.changed = pinVariables
		case wire.TrackState:
			if t.changed == notPinned {
				t.changed = pinState
			}
		case wire.TrackTransaction:
			t.oneShot = len(tr.Value) > 0
		}
		if tr.Kind == wire.TrackVariable && string(tr.Name) == "character_set_client" && wire.ASCIIMixed(tr.Value) {
			t.mixed = true
		}
	}
	if tr.Err != nil {
		t.lostTrack = true
	}
}

// idle says whether the session is between transactions, as far as the server
// has said.
func (t *thread) idle() bool {
	return t.status&(wire.StatusInTrans|wire.StatusInTransReadOnly) == 0 && t.status.Has(wire.StatusAutocommit)
}
