package admin

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Live is what /api/stream sends to pages that stay open. Both funcs give values
// to be shown as JSON.
type Live struct {
	// Past is what a page needs to begin with. It is sent to each as it comes.
	Past func() any
	// Now is what the pages get once a second, all the same. One goroutine
	// calls it, and only while there is a page.
	Now func() any
}

const (
	maxStreams   = 100              // pages at a time; the next one is told 503
	frameEvery   = time.Second      //
	frameTimeout = 10 * time.Second // to write one; who does not take it in that time is cut
	streamRetry  = "retry: 1000\n"  // ms, after which a browser comes again
)

// streams sends server-sent events (the HTML standard, section 9.2) to all who
// listen. A frame is marshalled once, and its bytes are shared: a page costs one
// write a second. Who reads slowly loses frames; no more than one waits for
// anybody.
//
// The goroutine that makes frames runs while somebody listens. It, and those
// that write, are waited for by close.
type streams struct {
	live  *Live
	log   *slog.Logger
	every time.Duration
	most  int

	done chan struct{}
	all  sync.WaitGroup

	mu      sync.Mutex // guards below; not held while a socket is written
	open    map[*stream]struct{}
	ticking bool
	closed  bool
}

// stream is one page.
type stream struct {
	conn  net.Conn
	frame chan []byte
}

func newStreams(live *Live, log *slog.Logger) *streams {
	return &streams{live: live, log: log, every: frameEvery, most: maxStreams, done: make(chan struct{}), open: map[*stream]struct{}{}}
}

// serve takes the connection over from the HTTP server, whose deadlines are for
// answers that end.
func (s *streams) serve(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/event-stream")
	if ctx.IsHead() {
		return
	}
	streamed(ctx.Conn())
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(s.run)
}

// Each answer ends with its connection: there is no length to tell.
const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n" +
		"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n" + streamRetry + "\n"
	streamRefusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: " + plain + "\r\nCache-Control: no-store\r\n" +
		"X-Content-Type-Options: nosniff\r\nRetry-After: 10\r\nConnection: close\r\n\r\n"
)

// run writes to one page until it goes, or stays behind, or close is called. The
// HTTP server closes c afterwards.
func (s *streams) run(c net.Conn) {
	st, why := s.join(c)
	if st == nil {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write([]byte(streamRefusal + "weir: " + why + "\n"))
		return
	}
	defer s.leave(st)
	first := append([]byte(streamHead), s.event("past", s.live.Past)...)
	for frame := first; s.write(st, frame); {
		select {
		case frame = <-st.frame:
		case <-s.done:
			return
		}
	}
}

func (s *streams) join(c net.Conn) (*stream, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, "this weir stops"
	}
	if len(s.open) >= s.most {
		return nil, strconv.Itoa(s.most) + " pages are open on /api/stream, and that is the most; close some, or read /api/status"
	}
	st := &stream{conn: c, frame: make(chan []byte, 1)}
	s.open[st] = struct{}{}
	s.all.Add(1)
	if !s.ticking {
		s.ticking = true
		s.all.Go(s.tick)
	}
	return st, ""
}

func (s *streams) leave(st *stream) {
	s.mu.Lock()
	delete(s.open, st)
	s.mu.Unlock()
	s.all.Done()
}

// write sets the deadline under mu, so that close's, which is now, is the last.
func (s *streams) write(st *stream, frame []byte) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	err := st.conn.SetWriteDeadline(time.Now().Add(frameTimeout))
	s.mu.Unlock()
	if err != nil {
		return false
	}
	_, err = st.conn.Write(frame)
	return err == nil
}

// tick makes the frames. It ends with the last page.
func (s *streams) tick() {
	t := time.NewTicker(s.every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.done:
			return
		}
		if !s.wanted() {
			return
		}
		s.give(s.event("now", s.live.Now))
	}
}

func (s *streams) wanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ticking = len(s.open) > 0
	return s.ticking
}

func (s *streams) give(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open {
		select {
		case st.frame <- frame:
		default: // it has not written the last one yet
		}
	}
}

// event is one server-sent event. JSON has no line ends of its own.
func (s *streams) event(name string, value func() any) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + name + "\ndata: ")
	if err := json.NewEncoder(&b).Encode(value()); err != nil {
		s.log.Error("what pages are shown cannot be written as JSON", "fold", "stream", "error", err)
		return []byte(": no JSON, the log has the reason\n\n")
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// close ends all streams and waits for that.
func (s *streams) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		for st := range s.open {
			_ = st.conn.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	s.mu.Unlock()
	s.all.Wait()
}
