package http1

import (
	"bytes"
	"time"

	"weir/internal/accesslog"
	"weir/internal/sock"
	"weir/proxy/fault"
)

// tally gathers, while a request is served, what its line of the access log
// says at the end. It costs a few additions also where there is no log.
type tally struct {
	wrote   int64 // bytes to the client, of all kinds
	head    int64 // wrote where the response's head begins
	body    int64 // and where its body does
	status  int   // of that response
	reused  bool  // the backend's connection was an idle one
	retries int
}

// answering notes that what is written next is a response with a head of that
// many bytes. A response that is put in the place of one of which nothing was
// written takes its place here too.
func (t *tally) answering(status, head int) {
	t.status, t.head, t.body = status, t.wrote, t.wrote+int64(head)
}

// logStart begins the request's line. It comes before anything of the head can
// be overwritten by the body.
func (s *session) logStart() {
	if s.access = s.set.Access; s.access == nil {
		return
	}
	buf, r := s.in.bytes(), &s.req
	s.line.Start(s.front.name, s.edit.ClientIP, r.Method.of(buf), r.Host.of(buf), r.Path.of(buf))
}

// logEnd writes the line, at the end of every request that is counted.
func (s *session) logEnd(outcome string, took time.Duration) {
	if s.access == nil {
		return
	}
	t := &s.tally
	e := accesslog.End{At: s.began.Add(took), Took: took, Reused: t.reused, Retries: t.retries, Outcome: outcome}
	if t.wrote > t.head {
		e.Status, e.Bytes = t.status, max(0, t.wrote-t.body)
	}
	if s.route != nil {
		e.Backend = s.route.Backend.Name
	}
	s.access.Write(s.line.Finish(e))
	s.access = nil
}

// logRefused writes the line of a client that was turned away unread, and that
// got the first wrote bytes of text.
func (f *Front) logRefused(set *Settings, c sock.Conn, k fault.Kind, text []byte, wrote int) {
	if set.Access == nil {
		return
	}
	s := f.sessions.Get().(*session) // for its memory
	ip := s.ip[:0]
	if peer := c.RemoteAddr().Addr(); peer.IsValid() {
		ip = peer.WithZone("").AppendTo(ip)
	}
	s.line.Start(f.name, ip, nil, nil, nil)
	e := accesslog.End{At: time.Now(), Outcome: k.String()}
	if wrote > 0 {
		e.Status, e.Bytes = k.Status(), int64(max(0, wrote-headLen(text)))
	}
	set.Access.Write(s.line.Finish(e))
	f.sessions.Put(s)
}

// headLen is the length of the head of a rendered answer.
func headLen(answer []byte) int {
	return bytes.Index(answer, []byte("\r\n\r\n")) + 4
}
