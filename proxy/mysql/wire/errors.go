package wire

import "fmt"

// MalformedError says what was wrong in a packet of the peer, and where. After
// it the connection cannot be used: what the peer means is not known.
type MalformedError struct {
	Packet string // "greeting"
	Field  string // "plugin name"
	At     int    // where in the payload the field starts
	Why    string // "30 bytes are left, 40 are needed"
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed mysql %s: %s at byte %d: %s", e.Packet, e.Field, e.At, e.Why)
}

// SequenceError says that a frame was not the one that had to follow: frames
// were lost, or the two sides do not agree on whose turn it is.
type SequenceError struct {
	Got, Want uint8
	// Code of the ERR that came out of turn, or 0. A server that closes an idle
	// connection may say why (4031) before it is asked anything.
	Code uint16
}

func (e *SequenceError) Error() string {
	if e.Code != 0 {
		return fmt.Sprintf("mysql error %d out of turn: sequence number %d, want %d", e.Code, e.Got, e.Want)
	}
	return fmt.Sprintf("mysql sequence number %d, want %d", e.Got, e.Want)
}

// ResponseError says that a backend's answer was not understood. The connection
// cannot be used again: where the answer ends is not known.
type ResponseError struct {
	Command Command
	Where   string // "in the rows"
	Why     string // "a frame of 0 bytes"
}

func (e *ResponseError) Error() string {
	return fmt.Sprintf("mysql answer to %s: %s: %s", e.Command, e.Where, e.Why)
}
