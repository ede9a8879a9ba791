package sock

import "syscall"

// onePark: the runtime's poller on Linux is edge-triggered, which is what
// makes the exchange below right.
const onePark = true

// maxOnePark bounds what is written inside the poller's callback.
const maxOnePark = 64 << 10

// exchange writes a request and waits for the answer with one visit to the
// poller. It runs inside RawConn.Read, which clears the descriptor's readiness
// first, then calls step, and waits when step says false. So the request goes
// out after the clearing, the answer's edge cannot be missed, and the read
// that would certainly find nothing is saved.
//
// A FIN or bytes that came before the clearing make no new edge: the caller
// must have looked directly before (Conn.Exchange says so).
type exchange struct {
	req, resp   []byte
	wrote, read int
	sent, short bool
	err         error
	step        func(fd uintptr) bool
}

func (x *exchange) init() { x.step = x.try }

func (x *exchange) try(fd uintptr) bool {
	if !x.sent {
		x.sent = true
		switch n, err := readOnce(fd, x.resp); {
		case err == errAgain:
		case err != nil:
			x.err = ErrDead
			return true
		case n == 0:
			x.err = ErrFIN
			return true
		default:
			x.err = ErrNotQuiet
			return true
		}
		x.wrote, x.err = writeOnce(fd, x.req)
		x.short = x.err == nil && x.wrote < len(x.req)
		return x.err != nil || x.short
	}
	n, err := readOnce(fd, x.resp)
	if err == syscall.EAGAIN {
		return false
	}
	x.read, x.err = n, err
	return true
}

func (x *exchange) run(c *plainConn, req, resp []byte) (wrote, read int, err error) {
	x.req, x.resp = req, resp
	x.wrote, x.read, x.sent, x.short, x.err = 0, 0, false, false, nil
	perr := c.rc.Read(x.step)
	x.req, x.resp = nil, nil
	switch {
	case perr != nil:
		return x.wrote, 0, perr
	case x.short:
		n, err := c.Conn.Write(req[x.wrote:])
		if err != nil {
			return x.wrote + n, 0, err
		}
		read, err = c.Conn.Read(resp)
		return len(req), read, err
	case x.err != nil:
		return x.wrote, 0, x.err
	}
	return x.wrote, x.read, eof(x.read, resp)
}
