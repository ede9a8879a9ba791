package storm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// The bounds of a response: a storm is about connections.
const (
	maxHead = 16 << 10
	maxBody = 64 << 20
)

// request renders the one request that is sent all the time.
func request(t target, m Mode) []byte {
	closing := ""
	if m == ServerCloses {
		closing = "Connection: close\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-storm\r\n%s\r\n", t.path, t.host, closing)
}

// worker makes one request at a time.
type worker struct {
	*run
	in   source
	br   *bufio.Reader // of in
	resp fasthttp.Response

	mu   sync.Mutex // guards what follows against cut; not held while anything waits
	conn net.Conn   // written by work alone, which may read it without mu
	over bool       // cut was called
}

func newWorker(s *run) *worker { return &worker{run: s, br: bufio.NewReaderSize(nil, maxHead)} }

// work makes requests until all are begun or the storm is ended. The deadline of
// the one that is under way is not after until; and when ctx ends, cut ends it.
func (w *worker) work(ctx context.Context) {
	defer w.hangUp()
	for w.ended(ctx) == "" && w.begun.Add(1) <= int64(w.o.Requests) {
		began := time.Now()
		if err := w.exchange(ctx); err != nil {
			w.hangUp()
			k := kind(err)
			if end := w.ended(ctx); end != "" && !errors.Is(err, errStatus) {
				k = end
			}
			w.fail(k)
			continue
		}
		w.latency.Observe(time.Since(began))
		w.answered.Add(1)
	}
}

// exchange makes one request, on a new connection unless one is kept.
func (w *worker) exchange(ctx context.Context) error {
	if w.conn == nil {
		d := net.Dialer{Deadline: w.deadline()}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(ctx, "tcp", w.t.addr.String())
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.conn = c
		w.mu.Unlock()
		w.br.Reset(&w.in)
	}
	if err := w.arm(); err != nil {
		return err
	}
	w.in = source{conn: w.conn}
	if _, err := w.conn.Write(w.request); err != nil {
		return err
	}
	w.resp.Reset()
	if err := w.resp.ReadLimitBody(w.br, maxBody); err != nil {
		return w.in.explain(err)
	}
	if w.resp.StatusCode() >= 400 {
		return statusError(&w.resp)
	}
	switch w.o.Mode {
	case Keepalive:
		if w.resp.ConnectionClose() {
			w.hangUp()
		}
	case ServerCloses:
		if _, err := w.br.ReadByte(); err != io.EOF {
			return tailError(err)
		}
		w.hangUp()
	default:
		w.hangUp()
	}
	return nil
}

// arm sets the deadline of a request, unless cut has set the last one.
func (w *worker) arm() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return os.ErrDeadlineExceeded
	}
	return w.conn.SetDeadline(w.deadline())
}

// cut ends the request that is under way, and every later one before it is sent.
// A dial is not ended: its context does that.
func (w *worker) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.conn != nil {
		w.conn.SetDeadline(time.Unix(1, 0))
	}
}

func (w *worker) hangUp() {
	if w.conn != nil {
		w.mu.Lock()
		c := w.conn
		w.conn = nil
		w.mu.Unlock()
		c.Close()
	}
}

// source is a connection that remembers how an answer's bytes ended. The parser
// folds every error before the first byte into io.EOF.
type source struct {
	conn net.Conn
	some bool  // a byte of the answer came
	err  error // the first that was read
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.conn.Read(p)
	s.some = s.some || n > 0
	if s.err == nil {
		s.err = err
	}
	return n, err
}
