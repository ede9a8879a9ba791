package http1

import (
	"errors"
	"os"

	"weir/internal/sock"
	"weir/proxy/fault"
)

// requestBody follows a request's body through s.in. Its bytes are checked and
// counted as they come; those of a chunked body are freed of their framing, in
// place, and framed anew when they are sent. So what stands in s.in is
//
//	head (off bytes) | data of the body (size bytes) | what comes after
//
// where the head is there until it was sent.
type requestBody struct {
	s       *session
	off     int   // the head's length, or 0 once the head has been sent
	size    int   // data that was not sent yet
	left    int64 // of a Content-Length, not yet seen
	total   int64 // data so far, for max_body
	chunks  Chunked
	chunked bool
	done    bool // the end of the body was seen
	closed  bool // a chunked body's end was sent
	trailer []byte
	back    []byte // framing behind the data, while it is written
	rej     *Reject
}

func (b *requestBody) start(s *session) {
	*b = requestBody{s: s, off: s.req.HeadLen, left: max(0, s.req.ContentLength), chunked: s.req.Chunked, trailer: b.trailer[:0], back: b.back}
	b.done = !s.req.HasBody()
	if b.chunked {
		b.chunks.Start(false, s.set.MaxHeader)
	}
}

// check moves over the bytes that came behind the data.
func (b *requestBody) check() fault.Kind {
	in := b.s.in
	raw := b.off + b.size // from here on in in.bytes()
	for !b.done {
		rest := in.bytes()[raw:]
		if len(rest) == 0 {
			break
		}
		n := len(rest)
		data := rest
		if b.chunked {
			data, n, b.done, b.rej = b.chunks.Next(rest)
			if b.rej != nil {
				return fault.BadRequest
			}
			if n == 0 {
				break
			}
			if b.done {
				b.trailer = b.s.edit.appendTrailer(b.trailer, b.chunks.Trailer().of(rest))
			}
		} else if int64(n) >= b.left {
			n, b.done = int(b.left), true
			data = rest[:n]
		}
		if !b.chunked {
			b.left -= int64(n)
		}
		copy(in.bytes()[b.off+b.size:], data)
		b.size += len(data)
		b.total += int64(len(data))
		raw += n
		if max := b.s.set.MaxBody; max > 0 && b.total > max {
			return fault.BodyTooLarge
		}
	}
	if gap := raw - b.off - b.size; gap > 0 {
		copy(in.bytes()[b.off+b.size:], in.bytes()[raw:])
		in.w -= gap
	}
	return fault.None
}

// readAhead reads the body, or its first bodyAhead bytes, before a backend
// connection is taken: a client that sends slowly holds none meanwhile.
func (b *requestBody) readAhead() fault.Kind {
	s := b.s
	s.edit.CutExpect = true
	if k := b.check(); k != fault.None || b.done {
		return k
	}
	if s.req.Expect100 && s.req.Minor == 1 && b.size == 0 {
		if s.req.ContentLength > bodyAhead {
			s.edit.CutExpect = false
			return fault.None // the backend is asked
		}
		if k := s.say100(); k != fault.None {
			return k
		}
	}
	want := bodyAhead
	if !b.chunked {
		want = int(min(bodyAhead, b.left+int64(b.size)))
	}
	for !b.done && b.size < want && s.in.len() < b.off+want {
		if k := b.read(b.off + want); k != fault.None {
			return k
		}
	}
	return fault.None
}

// read reads once more and checks what came. It reads into a buffer that can
// hold size bytes in all, if there is memory for it, and else into what is left
// of a smaller one.
func (b *requestBody) read(size int) fault.Kind {
	s := b.s
	if big := s.in.ensure(size, s.front.budget); big != nil {
		s.in = big
	}
	if len(s.in.room()) == 0 { // a trailer that does not fit
		big := s.in.ensure(s.in.len()+1, s.front.budget)
		if big == nil {
			return fault.NoMemory
		}
		s.in = big
	}
	var n int
	var err error
	if s.upload.done != nil {
		n, err = s.readHeld(s.in.room(), s.set.BodyIdle)
	} else {
		s.c.ReadWithin(s.set.BodyIdle)
		n, err = s.c.Read(s.in.room())
	}
	s.in.w += n
	switch {
	case n > 0:
		return b.check()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.BodyTimeout
	}
	return fault.ClientGone // a FIN inside a body too: it cannot be completed
}

// rejected returns the scanner's word on the body, if it was that which failed.
func (b *requestBody) rejected() *Reject { return b.rej }

// data returns what of the body was not sent yet.
func (b *requestBody) data() []byte {
	return b.s.in.bytes()[b.off : b.off+b.size]
}

// appendFront appends to a head what framing stands before the data.
func (b *requestBody) appendFront(dst []byte) []byte {
	if b.chunked && b.size > 0 {
		return AppendChunkHeader(dst, b.size)
	}
	return dst
}

// appendBack appends what framing stands behind the data.
func (b *requestBody) appendBack(dst []byte) []byte {
	if !b.chunked || b.closed {
		return dst
	}
	if b.size > 0 {
		dst = append(dst, "\r\n"...)
	}
	if b.done {
		b.closed = true
		dst = append(dst, "0\r\n"...)
		dst = append(dst, b.trailer...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// forwarded drops the head, if it is still there, and the data: both were sent.
func (b *requestBody) forwarded() {
	b.s.in.skip(b.off + b.size)
	b.off, b.size = 0, 0
}

// send writes head and the data to the backend, framed. The returned count is
// of bytes of all kinds.
func (b *requestBody) send(c sock.Conn, head []byte) (wrote int, err error) {
	head = b.appendFront(head)
	if wrote, err = c.WriteTwo(head, b.data()); err != nil {
		return wrote, err
	}
	if b.back = b.appendBack(b.back[:0]); len(b.back) > 0 {
		n, err := c.Write(b.back)
		return wrote + n, err
	}
	return wrote, nil
}

// headSent drops the head, which has gone out alone.
func (b *requestBody) headSent() {
	b.s.in.skip(b.off)
	b.off = 0
}

const continue100 = "HTTP/1.1 100 Continue\r\n\r\n"

// say100 tells the client to send its body.
func (s *session) say100() fault.Kind {
	s.c.WriteWithin(s.set.SendTimeout)
	if _, err := s.c.Write([]byte(continue100)); err != nil {
		return fault.ClientGone
	}
	return fault.None
}
