package wire

const (
	// MaxHeld is the longest payload of a packet that Response wants whole: OK,
	// ERR, EOF and the like. The buffer that Scan is given must be able to hold
	// HeaderLen+MaxHeld bytes. A longer OK passes in pieces, see Response.Partial;
	// another one that is longer is not understood.
	MaxHeld = 8 << 10

	okHead     = 23    // an OK's longest start: up to the warnings
	maxColumns = 65535 // servers stop at 4096
)

// Event is what Scan has come upon.
type Event uint8

const (
	EventNone     Event = iota // nothing: more bytes are needed
	EventResult                // a result has ended and another one follows
	EventEnd                   // the answer has ended
	EventInfile                // the server waits for File: send it, then call Sent
	EventAuth                  // a login step, its packet in b[At:n]; if it is answered, call Sent
	EventPrepared              // PREPARE-OK, its packet in b[At:n]: Prepared tells
)

// By is the packet that a result ended with.
type By uint8

const (
	ByNothing By = iota // the answer has no such packet: COM_STATISTICS, COM_STMT_PREPARE
	ByOK                // OK is set
	ByEOF               // OK is set, of which an EOF has only status and warnings
	ByERR               // ERR is set; the session's status is unknown
)

// Response follows a server's answer to one command, to its end, without
// reading the rows in it. Start comes first. It is not safe for concurrent use,
// allocates only if it fails, and takes an answer in pieces of any size.
//
// The exported fields say what the packet of the last event said; slices are
// parts of the b of that Scan.
type Response struct {
	By  By
	OK  OK
	ERR ERR
	// Partial: the OK was longer than MaxHeld, so Info and Track are missing. The
	// session may have changed in any way.
	Partial  bool
	At       int    // where in b the event's packet starts; -1 if it was not in b as a whole
	File     []byte // which the server wants
	Prepared Prepared

	cmd   Command
	state state
	seq   uint8 // of the next frame
	cont  bool  // the next frame continues a packet
	due   Event // after the frame that is being passed
	caps  Caps
	left  uint32 // of the current frame's payload
	defs  uint32 // definitions that are still to come
	err   error
}

// Prepared is what a PREPARE-OK says.
type Prepared struct {
	ID              uint32
	Params, Columns uint16
}

// Start prepares for the answer to cmd. seq is the sequence number that follows
// the command's (Packet.Seq), caps are those agreed on with the server. Without
// an answer (Command.Answered) Scan says EventEnd at once.
func (r *Response) Start(cmd Command, seq uint8, caps Caps) {
	*r = Response{cmd: cmd, state: commands[cmd].state, seq: seq, caps: caps, At: -1}
	if !cmd.Known() {
		r.err = &ResponseError{cmd, "before it", "the command is not known, so the answer's end would not be"}
	}
}

// Ended says whether the answer is over and understood.
func (r *Response) Ended() bool {
	return r.state == stateDone && r.left == 0 && !r.cont && r.err == nil
}

// Seq is the sequence number of the server's next frame, which is that of the
// next frame at all: after EventInfile, of the file's first one.
func (r *Response) Seq() uint8 { return r.seq }

// Sent says that frames have gone to the server since the last event, so that
// its next sequence number is higher by as many.
func (r *Response) Sent(frames int) { r.seq += uint8(frames) }

// Scan takes bytes of the answer from the start of b; b[:n] may be passed on. It
// is called again with b[n:] and what came behind it, until EventEnd or an
// error; events before that want what they say, then the next call. A packet
// that Response wants whole is taken whole or not at all. Bytes behind the
// answer are not looked at. After an error the connection cannot be used.
func (r *Response) Scan(b []byte) (n int, ev Event, err error) {
	for {
		if r.left > 0 {
			k := min(int(r.left), len(b)-n)
			n += k
			if r.left -= uint32(k); r.left > 0 {
				return n, EventNone, nil
			}
		}
		if ev, ok := r.pending(); ok {
			return n, ev, nil
		}
		if r.state == stateRows && !r.cont {
			n = r.rows(b, n)
		}
		at := n
		take, ev, err := r.step(b[n:])
		if n += take; err != nil || take == 0 {
			return n, EventNone, err
		}
		if ev != EventNone {
			if r.At = at; r.Partial {
				r.due, r.At = ev, -1 // once the rest has passed
				continue
			}
			return n, ev, nil
		}
	}
}

// pending is the event that is due between two frames, if any.
func (r *Response) pending() (Event, bool) {
	switch {
	case r.cont:
		return EventNone, false
	case r.due != EventNone:
		ev := r.due
		r.due = EventNone
		return ev, true
	case r.state == stateDone && r.err == nil:
		return EventEnd, true
	}
	return EventNone, false
}

// rows passes over the whole rows in b from n on. It stops before all that is
// not plain, which step then judges. This is where most frames are seen.
func (r *Response) rows(b []byte, n int) int {
	for len(b)-n > HeaderLen {
		size := int(b[n]) | int(b[n+1])<<8 | int(b[n+2])<<16
		if size == 0 || size == MaxPayload || size > len(b)-n-HeaderLen || b[n+3] != r.seq || b[n+4] >= byteEOF {
			break
		}
		n += HeaderLen + size
		r.seq++
	}
	return n
}

// step judges the frame at the start of b. take is how much of it that covers:
// the header and maybe the payload; what is missing then is in left. 0: more
// bytes are needed.
func (r *Response) step(b []byte) (take int, ev Event, err error) {
	if r.err != nil {
		return 0, EventNone, r.err
	}
	h, ok := ParseHeader(b)
	if !ok {
		return 0, EventNone, nil
	}
	p := b[HeaderLen:min(len(b), HeaderLen+h.Len)]
	if h.Seq != r.seq {
		return 0, EventNone, r.outOfTurn(h, p)
	}
	if r.cont {
		return r.pass(h), EventNone, nil
	}
	if h.Len > 0 && len(p) == 0 {
		return 0, EventNone, nil
	}
	var first byte
	if len(p) > 0 {
		first = p[0]
	}
	act := table[r.state][classOf(h, first)]
	switch act {
	case actPass:
		return r.pass(h), EventNone, nil
	case actDefine:
		if r.defs--; r.defs == 0 {
			r.defined()
		}
		return r.pass(h), EventNone, nil
	case actText:
		r.clear(ByNothing)
		r.state = stateDone
		return r.pass(h), EventNone, nil
	case actRefuse:
		return 0, EventNone, r.refuse(h, first)
	}
	if long := h.Len > MaxHeld; long && act != actOK && act != actEOF {
		return 0, EventNone, r.fail("a packet of %d bytes that starts with 0x%02x", h.Len, first)
	} else if need := min(h.Len, okHead); long && len(p) < need || !long && len(p) < h.Len {
		return 0, EventNone, nil
	}
	ev, err = r.whole(act, h, p)
	if err != nil {
		r.err = err
		return 0, EventNone, err
	}
	r.pass(h)
	if r.Partial && h.Len > MaxHeld {
		return HeaderLen, ev, nil
	}
	r.left = 0
	return HeaderLen + h.Len, ev, nil
}

// pass takes a frame's header; its payload is left.
func (r *Response) pass(h Header) int {
	r.seq, r.left, r.cont = r.seq+1, uint32(h.Len), h.Continues()
	return HeaderLen
}
