package wire

import "bytes"

const (
	// HeaderLen is the length of a frame's header: three bytes of payload length,
	// least significant first, and a sequence number.
	HeaderLen = 4
	// MaxPayload is the payload of a frame that is continued by the next one. A
	// packet of exactly this length is ended by an empty frame.
	MaxPayload = 1<<24 - 1
)

// Header is the header of a frame. A packet is one frame, or several of which
// all but the last are full.
type Header struct {
	Len int // of the payload in bytes, at most MaxPayload
	Seq uint8
}

// Continues says whether the packet goes on in the next frame.
func (h Header) Continues() bool { return h.Len == MaxPayload }

// ParseHeader reads the header at the start of b, of which it needs HeaderLen
// bytes; ok is false if they are not there yet.
func ParseHeader(b []byte) (h Header, ok bool) {
	if len(b) < HeaderLen {
		return Header{}, false
	}
	return Header{int(b[0]) | int(b[1])<<8 | int(b[2])<<16, b[3]}, true
}

// PutHeader writes a header into b[:HeaderLen]. n is at most MaxPayload.
func PutHeader(b []byte, n int, seq uint8) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(n), byte(n>>8), byte(n>>16), seq
}

// AppendHeader appends a header. n is at most MaxPayload.
func AppendHeader(dst []byte, n int, seq uint8) []byte {
	return append(dst, byte(n), byte(n>>8), byte(n>>16), seq)
}

// AppendPacket appends payload as one packet, in as many frames as it takes,
// and returns the sequence number that follows the last of them.
func AppendPacket(dst, payload []byte, seq uint8) (out []byte, next uint8) {
	for {
		n := min(len(payload), MaxPayload)
		dst = append(AppendHeader(dst, n, seq), payload[:n]...)
		payload, seq = payload[n:], seq+1
		if n < MaxPayload {
			return dst, seq
		}
	}
}

// BeginPacket leaves room for a header. EndPacket fills it in once the payload
// has been appended behind it.
func BeginPacket(dst []byte) (out []byte, at int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// EndPacket makes what was appended since BeginPacket returned at a packet, and
// returns the sequence number that follows it.
func EndPacket(dst []byte, at int, seq uint8) (out []byte, next uint8) {
	n := len(dst) - at - HeaderLen
	if n >= MaxPayload {
		return AppendPacket(dst[:at], bytes.Clone(dst[at+HeaderLen:]), seq)
	}
	PutHeader(dst[at:], n, seq)
	return dst, seq + 1
}

// NextFrame cuts the frame off the start of b. ok is false, and rest is b,
// while the frame is not whole.
func NextFrame(b []byte) (h Header, payload, rest []byte, ok bool) {
	h, ok = ParseHeader(b)
	if !ok || h.Len > len(b)-HeaderLen {
		return h, nil, b, false
	}
	end := HeaderLen + h.Len
	return h, b[HeaderLen:end:end], b[end:], true
}

// WholeFrames returns how many of the bytes at the start of b are whole frames.
func WholeFrames(b []byte) (n int) {
	for len(b)-n >= HeaderLen {
		size := int(b[n]) | int(b[n+1])<<8 | int(b[n+2])<<16
		if size > len(b)-n-HeaderLen {
			break
		}
		n += HeaderLen + size
	}
	return n
}

// Packet follows one packet through the frames it is made of, so that a packet
// of any length can be passed on in pieces: a client's command, or a part of
// a file that it loads. Start comes first. It is a small value; a copy is a
// snapshot.
type Packet struct {
	n    int64  // payload so far
	left uint32 // of the current frame's payload
	seq  uint8  // of the next frame
	more bool   // the current frame is continued
	in   bool   // a header was seen
	ends bool
}

// Start prepares for a packet whose first frame has the sequence number seq.
func (p *Packet) Start(seq uint8) { *p = Packet{seq: seq} }

// Len is the length of the payload so far, in bytes.
func (p *Packet) Len() int64 { return p.n }

// Seq is the sequence number that follows the frames so far: of the next frame
// or, once the packet is whole, of the answer's first one.
func (p *Packet) Seq() uint8 { return p.seq }

// Scan takes bytes of the packet from the start of b; b[:n] may be passed on.
// It is called again with b[n:] and what came behind it until whole. Bytes
// behind the packet are not looked at. Of a header nothing is taken until it is
// complete, so at most HeaderLen-1 bytes have to be kept.
func (p *Packet) Scan(b []byte) (n int, whole bool, err error) {
	for !p.ends {
		if p.left > 0 {
			k := min(int(p.left), len(b)-n)
			n += k
			p.n += int64(k)
			if p.left -= uint32(k); p.left > 0 {
				return n, false, nil
			}
		}
		if p.in && !p.more {
			p.ends = true
			break
		}
		h, ok := ParseHeader(b[n:])
		if !ok {
			return n, false, nil
		}
		if h.Seq != p.seq {
			return n, false, &SequenceError{Got: h.Seq, Want: p.seq}
		}
		n += HeaderLen
		p.in, p.more, p.left, p.seq = true, h.Continues(), uint32(h.Len), p.seq+1
	}
	return n, true, nil
}
