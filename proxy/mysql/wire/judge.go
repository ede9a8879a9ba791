package wire

import (
	"encoding/binary"
	"fmt"
)

// What a Response makes of the packets that it wants whole, and where it goes
// from there.

func (r *Response) clear(by By) {
	r.By, r.OK, r.ERR, r.Partial, r.At, r.File = by, OK{}, ERR{}, false, -1, nil
}

// whole judges a packet of which p is all, or, if it is a long OK, the start.
func (r *Response) whole(act action, h Header, p []byte) (Event, error) {
	switch act {
	case actCount:
		n, size := Lenenc(p)
		if size != h.Len || n == 0 || n > maxColumns {
			return EventNone, r.fail("a packet of %d bytes that is no number of columns", h.Len)
		}
		r.state, r.defs = stateColumns, uint32(n)
		return EventNone, nil
	case actOK, actEOF:
		return r.ends(act, h, p)
	case actMetaEOF:
		return r.metaEOF(p)
	case actERR:
		e, err := ParseERR(p)
		if err == nil && e.Code == codeProgress {
			err = r.fail("a progress report, which was not asked for")
		}
		if err != nil {
			return EventNone, err
		}
		r.clear(ByERR)
		r.ERR, r.state = e, stateDone
		return EventEnd, nil
	case actInfile:
		if !r.caps.Has(CapLocalFiles) {
			return EventNone, r.fail("the server wants the file %q of a client without LOCAL_FILES", p[1:])
		}
		r.clear(ByNothing)
		r.File, r.state = p[1:], stateInfile
		return EventInfile, nil
	case actPrepared:
		return r.prepared(p)
	}
	r.clear(ByNothing) // actAuth
	return EventAuth, nil
}

// ends takes the OK or EOF that ends a result.
func (r *Response) ends(act action, h Header, p []byte) (Event, error) {
	f := fields{b: p, packet: "OK"}
	var ok OK
	by, partial := ByOK, h.Len > MaxHeld
	switch {
	case act == actEOF && !partial && (h.Len == eofLen || !r.caps.Has(CapDeprecateEOF)):
		// Some commands answer with the short form even where the long was agreed on.
		f.packet = "EOF"
		by, ok = ByEOF, f.eof()
	case partial && (act == actOK || r.caps.Has(CapDeprecateEOF)):
		ok = f.okHead()
	case partial:
		return EventNone, r.fail("an EOF of %d bytes", h.Len)
	default:
		ok = f.ok(r.caps)
	}
	if f.err != nil {
		return EventNone, f.err
	}
	if act == actEOF {
		by = ByEOF
	}
	r.clear(by)
	r.OK, r.Partial = ok, partial
	return r.after(ok.Status)
}

// after says what follows a result that ended with s.
func (r *Response) after(s Status) (Event, error) {
	if !s.Has(StatusMoreResults) {
		r.state = stateDone
		return EventEnd, nil
	}
	if commands[r.cmd].state != stateResult {
		return EventNone, r.fail("more results than one are announced")
	}
	r.state = stateResult
	return EventResult, nil
}

// metaEOF takes the EOF behind definitions.
func (r *Response) metaEOF(p []byte) (Event, error) {
	f := fields{b: p, packet: "EOF"}
	ok := f.eof()
	if f.err != nil {
		return EventNone, f.err
	}
	if r.state == stateColumnsEOF && r.cmd == ComStmtExecute && ok.Status.Has(StatusCursorExists) {
		r.clear(ByEOF) // the rows wait for COM_STMT_FETCH
		r.OK = ok
		return r.after(ok.Status)
	}
	r.behind()
	return EventNone, nil
}

func (r *Response) prepared(p []byte) (Event, error) {
	const size = 12
	if len(p) < size {
		return EventNone, r.fail("PREPARE-OK has %d bytes, want %d", len(p), size)
	}
	r.clear(ByNothing)
	r.Prepared = Prepared{
		ID:      binary.LittleEndian.Uint32(p[1:]),
		Columns: binary.LittleEndian.Uint16(p[5:]),
		Params:  binary.LittleEndian.Uint16(p[7:]),
	}
	if r.state, r.defs = stateParams, uint32(r.Prepared.Params); r.defs == 0 {
		r.state = stateParamsEOF
		r.behind()
	}
	return EventPrepared, nil
}

// defined goes on after the last of some definitions.
func (r *Response) defined() {
	r.state++ // to the EOF behind them
	if r.caps.Has(CapDeprecateEOF) {
		r.behind()
	}
}

// behind goes on after the definitions and their EOF.
func (r *Response) behind() {
	switch r.state {
	case stateColumnsEOF:
		r.state = stateRows
	case stateParamsEOF:
		if r.state, r.defs = stateDefs, uint32(r.Prepared.Columns); r.defs == 0 {
			r.state = stateDone
		}
	case stateDefsEOF:
		r.state = stateDone
	}
}

func (r *Response) fail(format string, args ...any) error {
	r.err = &ResponseError{r.cmd, stateNames[r.state], fmt.Sprintf(format, args...)}
	return r.err
}

func (r *Response) refuse(h Header, first byte) error {
	if h.Len == 0 {
		return r.fail("a packet of 0 bytes")
	}
	return r.fail("a packet of %d bytes that starts with 0x%02x", h.Len, first)
}

func (r *Response) outOfTurn(h Header, p []byte) error {
	e := &SequenceError{Got: h.Seq, Want: r.seq}
	if len(p) >= 3 && p[0] == byteERR {
		e.Code = binary.LittleEndian.Uint16(p[1:])
	}
	r.err = e
	return r.err
}
