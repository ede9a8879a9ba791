package wire

import (
	"encoding/binary"
	"fmt"
)

// maxErrText bounds the text of an ERR of ours; servers keep to 512.
const maxErrText = 512

// ERR is what an ERR packet says.
type ERR struct {
	Code  Code
	State []byte // five characters, or nil where the packet has none
	Text  []byte
}

// Error is the server's error as an error.
func (e *ERR) Error() string {
	if len(e.State) == 0 {
		return fmt.Sprintf("mysql error %d: %s", e.Code, e.Text)
	}
	return fmt.Sprintf("mysql error %d (%s): %s", e.Code, e.State, e.Text)
}

// IsERR says whether a packet of the server is an ERR, by its first byte.
func IsERR(payload []byte) bool { return len(payload) > 0 && payload[0] == byteERR }

// ParseERR parses an ERR packet. One that comes in the greeting's place has no
// SQLSTATE, as the server does not know yet whether we would understand it; so
// have some later ones. It allocates only if it fails.
func ParseERR(payload []byte) (ERR, error) {
	f := fields{b: payload, packet: "ERR"}
	e := f.serverError()
	return e, f.err
}

func (f *fields) serverError() (e ERR) {
	if b := f.u8("header"); f.err == nil && b != byteERR {
		f.fail("header", "0x%02x, want 0xff", b)
	}
	e.Code = f.u16("code")
	if f.rest() >= 6 && f.b[f.at] == '#' {
		f.skip(1, "mark")
		e.State = f.bytes(5, "SQLSTATE")
	}
	e.Text = f.bytes(f.rest(), "text")
	return e
}

// AppendERR appends an ERR packet with code, the SQLSTATE that belongs to it
// and text, which is cut at 512 bytes; an empty text becomes Text(code). caps
// are the client's; before they are known they are 0, and then the packet has
// no SQLSTATE, because a client before 4.1 would show it as text.
func AppendERR(dst []byte, caps Caps, code Code, text string) []byte {
	return AppendERRState(dst, caps, code, State(code), text)
}

// AppendERRState is AppendERR with a SQLSTATE of the caller's, five characters.
func AppendERRState(dst []byte, caps Caps, code Code, state, text string) []byte {
	if text == "" {
		text = Text(code)
	}
	dst = binary.LittleEndian.AppendUint16(append(dst, byteERR), code)
	if caps.Has(CapProtocol41) {
		if len(state) != 5 {
			state = unknownState
		}
		dst = append(append(dst, '#'), state...)
	}
	return append(dst, text[:min(len(text), maxErrText)]...)
}
