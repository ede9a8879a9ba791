package wire

import "encoding/binary"

// First bytes of packets that have their own form.
const (
	byteOK     = 0x00
	byteMore   = 0x01 // AuthMoreData
	byteInfile = 0xfb // LOCAL INFILE
	byteEOF    = 0xfe // EOF, OK in its place, or AuthSwitchRequest
	byteERR    = 0xff
)

// eofLen is the payload of an EOF that is no OK.
const eofLen = 5

// OK is what an OK packet says, or an EOF.
type OK struct {
	Affected uint64
	InsertID uint64
	Status   Status
	Warnings uint16
	Info     []byte // human-readable: "Rows matched: 2  Changed: 2  Warnings: 0"
	Track    []byte // session-track data, see Tracks; nil if there is none
}

// ParseOK parses an OK packet, also one with 0xFE in EOF's place. caps are
// those agreed on with the server. It allocates only if it fails.
func ParseOK(payload []byte, caps Caps) (OK, error) {
	f := fields{b: payload, packet: "OK"}
	ok := f.ok(caps)
	return ok, f.err
}

// okHead takes what an OK starts with, at most okHead bytes.
func (f *fields) okHead() (ok OK) {
	if b := f.u8("header"); f.err == nil && b != byteOK && b != byteEOF {
		f.fail("header", "0x%02x, want 0x00 or 0xfe", b)
	}
	ok.Affected = f.lenenc("affected rows")
	ok.InsertID = f.lenenc("last insert id")
	ok.Status = Status(f.u16("status"))
	ok.Warnings = f.u16("warnings")
	return ok
}

func (f *fields) ok(caps Caps) OK {
	ok := f.okHead()
	track := caps.Has(CapSessionTrack) && ok.Status.Has(StatusSessionChanged)
	if f.rest() > 0 || track {
		ok.Info = f.info(caps)
	}
	if track {
		ok.Track = f.text(len(f.b), "session-track data")
	}
	if f.rest() > 0 && f.err == nil {
		f.fail("end", "%d bytes more than the packet has fields", f.rest())
	}
	return ok
}

// info takes the information. It has a length with CapSessionTrack, and in truth
// without it too: MariaDB sends it so, and clients read it so. The documents
// say that without it the text fills the packet, and some servers believe them.
func (f *fields) info(caps Caps) []byte {
	if !caps.Has(CapSessionTrack) && f.err == nil {
		if v, n := Lenenc(f.b[f.at:]); n == 0 || v != uint64(f.rest()-n) {
			return f.bytes(f.rest(), "info")
		}
	}
	return f.text(len(f.b), "info")
}

// AppendOK appends an OK packet for a peer with caps. Without CapSessionTrack
// the session-track data and its flag are left out; with it the flag follows
// Track.
func AppendOK(dst []byte, ok *OK, caps Caps) []byte { return appendOK(dst, byteOK, ok, caps) }

func appendOK(dst []byte, first byte, ok *OK, caps Caps) []byte {
	track := caps.Has(CapSessionTrack) && len(ok.Track) > 0
	s := ok.Status &^ StatusSessionChanged
	if track {
		s |= StatusSessionChanged
	}
	dst = AppendLenenc(append(dst, first), ok.Affected)
	dst = AppendLenenc(dst, ok.InsertID)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(s))
	dst = binary.LittleEndian.AppendUint16(dst, ok.Warnings)
	if len(ok.Info) > 0 || track {
		dst = appendText(dst, ok.Info)
	}
	if track {
		dst = appendText(dst, ok.Track)
	}
	return dst
}

// ParseEOF parses what ends rows: an OK with 0xFE for those who have
// CapDeprecateEOF, else an EOF, which has only Status and Warnings.
func ParseEOF(payload []byte, caps Caps) (OK, error) {
	if caps.Has(CapDeprecateEOF) {
		return ParseOK(payload, caps)
	}
	f := fields{b: payload, packet: "EOF"}
	ok := f.eof()
	return ok, f.err
}

func (f *fields) eof() (ok OK) {
	if len(f.b) != eofLen {
		f.fail("length", "%d bytes, want %d", len(f.b), eofLen)
		return ok
	}
	if b := f.u8("header"); b != byteEOF {
		f.fail("header", "0x%02x, want 0xfe", b)
	}
	ok.Warnings = f.u16("warnings")
	ok.Status = Status(f.u16("status"))
	return ok
}

// AppendEOF appends what ends rows, in the form that a peer with caps expects.
func AppendEOF(dst []byte, ok *OK, caps Caps) []byte {
	if caps.Has(CapDeprecateEOF) {
		return appendOK(dst, byteEOF, ok, caps)
	}
	dst = binary.LittleEndian.AppendUint16(append(dst, byteEOF), ok.Warnings)
	return binary.LittleEndian.AppendUint16(dst, uint16(ok.Status&^StatusSessionChanged))
}
