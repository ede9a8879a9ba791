package wire

// Translate turns a backend's answers into those of a client that did not agree
// to CapDeprecateEOF or CapSessionTrack as the backend did: it adds or leaves
// out the EOF behind definitions, numbers the frames anew, and writes OK and
// EOF in the client's form. It copies every byte, so it is for the few clients
// for which Verbatim is false. Start comes first; then see Response for what
// the fields say.
type Translate struct {
	Response
	client Caps
	status Status // of the session, for an EOF that the backend did not send
	shift  uint8  // frames that the client got more than came
	owed   bool   // an EOF goes before the next frame
	drop   bool   // what is left of the current frame is not passed on
}

// Start prepares for the answer to cmd, as Response.Start. status is the
// session's before the command.
func (t *Translate) Start(cmd Command, seq uint8, backend, client Caps, status Status) {
	t.Response.Start(cmd, seq, backend)
	t.client, t.status, t.shift, t.owed, t.drop = client, status.Session(), 0, false, false
}

// Shift is how much higher the client's sequence numbers are than the backend's:
// to be subtracted from those of a file that the client sends.
func (t *Translate) Shift() uint8 { return t.shift }

// Append takes bytes of the answer from the start of b, as Scan does, and
// appends what the client gets for them. Response.At is not set.
func (t *Translate) Append(dst, b []byte) (out []byte, n int, ev Event, err error) {
	for {
		if t.left > 0 {
			k := min(int(t.left), len(b)-n)
			if !t.drop {
				dst = append(dst, b[n:n+k]...)
			}
			n += k
			if t.left -= uint32(k); t.left > 0 {
				return dst, n, EventNone, nil
			}
		}
		if ev, ok := t.pending(); ok {
			return t.settle(dst, t.seq), n, ev, nil
		}
		var take int
		dst, take, ev, err = t.frame(dst, b[n:])
		if n += take; err != nil || take == 0 {
			return dst, n, EventNone, err
		}
		if ev != EventNone {
			if t.Partial {
				t.due = ev
				continue
			}
			return dst, n, ev, nil
		}
	}
}

// frame takes one frame.
func (t *Translate) frame(dst, b []byte) (out []byte, take int, ev Event, err error) {
	was, cont := t.state, t.cont
	take, ev, err = t.step(b)
	if err != nil || take == 0 {
		return dst, take, ev, err
	}
	t.At = -1
	seq := b[3]
	if cont {
		if t.drop {
			t.shift--
			return dst, take, ev, nil
		}
		return t.copy(dst, b[:take], seq), take, ev, nil
	}
	t.drop = false
	if ev == EventResult || ev == EventEnd {
		if t.By == ByERR {
			return t.copy(t.settle(dst, seq), b[:take], seq), take, ev, nil
		}
		return t.ending(dst, seq), take, ev, nil
	}
	if was == stateColumnsEOF || was == stateParamsEOF || was == stateDefsEOF {
		if t.client.Has(CapDeprecateEOF) {
			t.shift--
			return dst, take, ev, nil
		}
		return t.copy(dst, b[:take], seq), take, ev, nil
	}
	dst = t.copy(t.settle(dst, seq), b[:take], seq)
	if defines := was == stateColumns || was == stateParams || was == stateDefs; defines && t.state != was {
		t.owed = t.caps.Has(CapDeprecateEOF) && !t.client.Has(CapDeprecateEOF)
	}
	return dst, take, ev, nil
}

// ending writes the OK or EOF of seq that a result has ended with.
func (t *Translate) ending(dst []byte, seq uint8) []byte {
	if t.owed && t.OK.Status.Has(StatusCursorExists) && t.cmd == ComStmtExecute {
		t.owed = false // no rows come, so this EOF is the one behind the definitions
	}
	t.status = t.OK.Status.Session()
	dst = t.settle(dst, seq)
	t.drop = true // of a Partial one; the others leave nothing
	dst, at := BeginPacket(dst)
	if t.By == ByEOF {
		dst = AppendEOF(dst, &t.OK, t.client)
	} else {
		dst = AppendOK(dst, &t.OK, t.client)
	}
	dst, _ = EndPacket(dst, at, seq+t.shift)
	return dst
}

// settle writes the EOF that is owed, before the backend's frame seq.
func (t *Translate) settle(dst []byte, seq uint8) []byte {
	if !t.owed {
		return dst
	}
	t.owed = false
	dst, at := BeginPacket(dst)
	dst = AppendEOF(dst, &OK{Status: t.status}, t.client)
	dst, _ = EndPacket(dst, at, seq+t.shift)
	t.shift++
	return dst
}

// copy appends a frame as it came, but for its number.
func (t *Translate) copy(dst, frame []byte, seq uint8) []byte {
	at := len(dst)
	dst = append(dst, frame...)
	dst[at+HeaderLen-1] = seq + t.shift
	return dst
}
