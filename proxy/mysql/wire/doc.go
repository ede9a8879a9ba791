// Package wire knows the MySQL and MariaDB client/server protocol: packets, the
// login of both sides, and where the answer to a command ends. It is made of
// functions and small state machines over byte slices. It does no I/O, starts
// no goroutine and reads no clock; who calls it owns the connections.
//
// Two kinds of code stand here. What runs once for a login (ParseGreeting,
// ParseLogin, the proofs) may allocate and gives errors that say what was
// wrong and where. What runs for each packet (Packet, Response, OK, Tracks,
// statement ids) allocates nothing, parses no row, and never needs a packet
// whole but for OK, ERR and EOF, of which even the long ones may pass in pieces.
//
// Append functions append a payload. BeginPacket and EndPacket put a header
// before it:
//
//	dst, at := BeginPacket(dst)
//	dst = AppendERR(dst, caps, CodeTooManyConnections, "")
//	dst, seq = EndPacket(dst, at, seq)
//
// Slices in parsed values are parts of the bytes they were parsed from.
//
// The layouts follow the MySQL and MariaDB protocol documents, and where those
// differ from what MariaDB 10.11 sends, what it sends: see testdata.
package wire
