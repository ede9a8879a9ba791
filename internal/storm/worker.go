package storm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// maxBody bounds a response's body: a storm is about connections.
const maxBody = 64 << 20

// request renders the one request that is sent all the time.
func request(t target, m Mode) []byte {
	closing := ""
	if m == ServerCloses {
		closing = "Connection: close\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-storm\r\n%s\r\n", t.path, t.host, closing)
}

// work makes requests until all are begun or ctx ends.
func (s *run) work(ctx context.Context) {
	w := worker{run: s, br: bufio.NewReaderSize(nil, 16<<10)}
	defer w.hangUp()
	for ctx.Err() == nil && s.begun.Add(1) <= int64(s.o.Requests) {
		began := time.Now()
		if err := w.exchange(ctx); err != nil {
			w.hangUp()
			s.failed.Add(1)
			s.mu.Lock()
			s.errors[kind(err)]++
			s.mu.Unlock()
			continue
		}
		s.latency.Observe(time.Since(began))
		s.answered.Add(1)
	}
}

// worker makes one request at a time.
type worker struct {
	*run
	conn net.Conn
	br   *bufio.Reader
	resp fasthttp.Response
}

// exchange makes one request, on a new connection unless one is kept.
func (w *worker) exchange(ctx context.Context) error {
	if w.conn == nil {
		d := net.Dialer{Timeout: w.o.Timeout}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(ctx, "tcp", w.t.addr.String())
		if err != nil {
			return err
		}
		w.conn = c
		w.br.Reset(c)
	}
	if err := w.conn.SetDeadline(time.Now().Add(w.o.Timeout)); err != nil {
		return err
	}
	if _, err := w.conn.Write(w.request); err != nil {
		return err
	}
	w.resp.Reset()
	if err := w.resp.ReadLimitBody(w.br, maxBody); err != nil {
		return err
	}
	if code := w.resp.StatusCode(); code >= 400 {
		return fmt.Errorf("%w %d", errStatus, code)
	}
	switch w.o.Mode {
	case Keepalive:
		if w.resp.ConnectionClose() {
			w.hangUp()
		}
	case ServerCloses:
		if n, err := io.Copy(io.Discard, w.br); err != nil || n > 0 {
			return fmt.Errorf("%w: %d bytes, %v", errTail, n, err)
		}
		w.hangUp()
	default:
		w.hangUp()
	}
	return nil
}

func (w *worker) hangUp() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

var (
	errStatus = errors.New("status")
	errTail   = errors.New("no clean end after the response")
)

// kind folds an error into one of few words.
func kind(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, errStatus), errors.Is(err, errTail):
		return err.Error()
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no local port free (EADDRNOTAVAIL)"
	case errors.Is(err, syscall.EMFILE):
		return "no descriptor free (EMFILE)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed without an answer"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "stopped"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return "other: " + err.Error()
}
