package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// fields reads a payload from front to back. The first fault stays in err and
// makes all that follows return zero values, so callers look once, at the end.
// Nothing is allocated but the error.
type fields struct {
	b      []byte
	at     int
	packet string
	err    error
}

// rest is how many bytes are left.
func (f *fields) rest() int { return len(f.b) - f.at }

func (f *fields) fail(field, format string, args ...any) {
	if f.err == nil {
		f.err = &MalformedError{f.packet, field, f.at, fmt.Sprintf(format, args...)}
	}
}

// bytes takes n bytes.
func (f *fields) bytes(n int, field string) []byte {
	if f.err != nil {
		return nil
	}
	if n > f.rest() {
		f.short(n, field)
		return nil
	}
	f.at += n
	return f.b[f.at-n : f.at : f.at]
}

// short is apart so that bytes stays small and its arguments do not escape.
func (f *fields) short(n int, field string) {
	f.err = &MalformedError{f.packet, field, f.at, fmt.Sprintf("%d bytes are left, %d are needed", f.rest(), n)}
}

func (f *fields) u8(field string) uint8 {
	if b := f.bytes(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) u16(field string) uint16 {
	if b := f.bytes(2, field); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (f *fields) u32(field string) uint32 {
	if b := f.bytes(4, field); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// skip takes n bytes that nobody wants.
func (f *fields) skip(n int, field string) { f.bytes(n, field) }

// lenenc takes a length-encoded integer.
func (f *fields) lenenc(field string) uint64 {
	if f.err != nil {
		return 0
	}
	v, n := Lenenc(f.b[f.at:])
	if n == 0 {
		f.fail(field, "no length-encoded integer starts there")
		return 0
	}
	f.at += n
	return v
}

// text takes a length-encoded string of at most limit bytes.
func (f *fields) text(limit int, field string) []byte {
	n := f.lenenc(field)
	if f.err == nil && (n > uint64(limit) || n > uint64(f.rest())) {
		f.tooLong(n, limit, field)
		return nil
	}
	return f.bytes(int(n), field)
}

func (f *fields) tooLong(n uint64, limit int, field string) {
	if n > uint64(limit) {
		f.err = &MalformedError{f.packet, field, f.at, fmt.Sprintf("%d bytes long, the limit is %d", n, limit)}
		return
	}
	f.err = &MalformedError{f.packet, field, f.at, fmt.Sprintf("%d bytes are left, %d are needed", f.rest(), n)}
}

// nul takes a string of at most limit bytes and the NUL behind it. last allows
// the payload's end in the NUL's place: some clients leave the last one out.
func (f *fields) nul(limit int, last bool, field string) []byte {
	if f.err != nil {
		return nil
	}
	n := bytes.IndexByte(f.b[f.at:], 0)
	end := 1
	if n < 0 {
		if !last {
			f.fail(field, "no NUL ends it")
			return nil
		}
		n, end = f.rest(), 0
	}
	if n > limit {
		f.fail(field, "%d bytes long, the limit is %d", n, limit)
		return nil
	}
	s := f.bytes(n, field)
	f.at += end
	return s
}

// Lenenc reads the length-encoded integer at the start of b and returns its
// value and length. n is 0 if b is too short, or starts with 0xFB (NULL) or 0xFF
// (ERR), which are no integers.
func Lenenc(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch c := b[0]; c {
	case 0xfb, 0xff:
		return 0, 0
	case 0xfc:
		if len(b) < 3 {
			return 0, 0
		}
		return uint64(binary.LittleEndian.Uint16(b[1:])), 3
	case 0xfd:
		if len(b) < 4 {
			return 0, 0
		}
		return uint64(b[1]) | uint64(b[2])<<8 | uint64(b[3])<<16, 4
	case 0xfe:
		if len(b) < 9 {
			return 0, 0
		}
		return binary.LittleEndian.Uint64(b[1:]), 9
	default:
		return uint64(c), 1
	}
}

// AppendLenenc appends v as a length-encoded integer, in the shortest form.
func AppendLenenc(dst []byte, v uint64) []byte {
	switch {
	case v < 0xfb:
		return append(dst, byte(v))
	case v < 1<<16:
		return append(dst, 0xfc, byte(v), byte(v>>8))
	case v < 1<<24:
		return append(dst, 0xfd, byte(v), byte(v>>8), byte(v>>16))
	}
	return binary.LittleEndian.AppendUint64(append(dst, 0xfe), v)
}

// appendText appends s as a length-encoded string.
func appendText[S ~string | ~[]byte](dst []byte, s S) []byte {
	return append(AppendLenenc(dst, uint64(len(s))), s...)
}

// appendNUL appends s and a NUL. s holds none: it would end there for the peer.
func appendNUL[S ~string | ~[]byte](dst []byte, s S) []byte {
	return append(append(dst, s...), 0)
}
