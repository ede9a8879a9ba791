package mysql

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"weir/internal/sock"
	"weir/proxy/fault"
	"weir/proxy/mysql/wire"
)

// begin greets a client.
func (f *Front) begin(l *sock.Listener, c sock.Conn, set *Settings) sock.Next {
	s := &session{front: f, set: set, be: set.Backend, l: l, c: c, peer: c.RemoteAddr().Addr(), began: time.Now()}
	s.takeWork()
	greet := set.Backend.Server.greets()
	logins := f.logins.Add(1)
	switch {
	case greet == nil:
		// Why is said in the log (Learn): nobody knows who this client is.
		f.stats.refused.count(fault.ServerUnknown)
		s.refuseGreeting(fault.ServerUnknown, "")
		s.giveWork()
		return sock.Next{}
	case logins > int64(set.MaxLogins):
		f.stats.refused.count(fault.LoginFlood)
		s.refuseGreeting(fault.LoginFlood, "")
		s.giveWork()
		return sock.Next{}
	}
	s.id = f.sessions.number()
	s.nonce = wire.NewNonce()
	s.caps = wire.Offer(greet.Caps, set.TLS != nil) // until the client has said what it takes of it
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = wire.AppendGreeting(s.out, &wire.Greeting{
		Version: []byte(greet.Version), ConnID: s.id, Nonce: s.nonce, Caps: s.caps, Charset: greet.Charset,
		Status: wire.StatusAutocommit, Plugin: []byte(set.Backend.Plugin),
	})
	s.out, _ = wire.EndPacket(s.out, at, 0)
	s.say(s.out)
	c.Stay()
	return s.run(false)
}

// refuseGreeting answers in the place of a greeting, and ends the session.
func (s *session) refuseGreeting(k fault.Kind, more string) {
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = appendFault(s.out, k, more, 0)
	s.out, _ = wire.EndPacket(s.out, at, 0)
	s.say(s.out)
	s.close()
}

// leaveLogin says that the session is no login any more.
func (s *session) leaveLogin() {
	if !s.noSlot {
		s.noSlot = true
		s.front.logins.Add(-1)
	}
}

// login reads the login that in[r:w] starts with, and answers it.
func (s *session) login() (keep bool) {
	seq := uint8(1)
	s.c.SetReadDeadline(s.began.Add(s.set.LoginTimeout))
	p, ok := s.payload(seq)
	if !ok {
		return false
	}
	if wire.IsSSLRequest(p) {
		if s.set.TLS == nil || s.tls {
			return s.refuseLogin(seq+1, fault.BadLogin, "TLS was asked for, and not offered")
		}
		if !s.startTLS() {
			return false
		}
		seq++
		if p, ok = s.payload(seq); !ok {
			return false
		}
	}
	l, err := wire.ParseLogin(p, s.caps)
	if err != nil {
		return s.refuseLogin(seq+1, fault.BadLogin, err.Error())
	}
	if l.Beyond.Has(wire.CapCompress) {
		// PHP's library would go on compressed, and wait for ever.
		return s.refuseLogin(seq+1, fault.BadLogin, "compression was asked for, and is not offered")
	}
	s.caps, s.charset, s.database = l.Caps, l.Charset, string(l.Database)
	if s.set.RequireTLS && !s.tls {
		return s.refuseLogin(seq+1, fault.TLSRequired, "")
	}
	seq++
	user, seq, ok := s.identify(&l, seq)
	if !ok {
		return false
	}
	if user == nil {
		return s.denied(seq, &l)
	}
	s.user = user
	s.settle()
	if err := s.enter(); err != nil {
		s.failed(seq, err)
		return s.close()
	}
	s.phase, s.counts = ready, s.front.stats.of(s.be.Name)
	s.leaveLogin()
	s.front.sessions.enter(s)
	return s.sayOK(seq, &wire.OK{Status: wire.StatusAutocommit})
}

// settle works out what follows from who the client is and what it can do.
func (s *session) settle() {
	t := target{user: s.user.Name, database: s.database, caps: wire.Key(s.caps), charset: s.charset}
	s.key = t.append(s.key[:0])
	s.place = s.be.Seen.of(s.key)
}

// payload reads the packet that in[r:w] starts with, of the login, and takes it
// out of in. It is good until the next read.
func (s *session) payload(seq uint8) (p []byte, ok bool) {
	h, have := wire.ParseHeader(s.in[s.r:s.w])
	for !have || s.w-s.r < wire.HeaderLen+h.Len {
		if have && wire.HeaderLen+h.Len > len(s.in) {
			return nil, s.refuseLogin(h.Seq+1, fault.BadLogin, fmt.Sprintf("a packet of %d bytes, the limit is %d", h.Len, len(s.in)-wire.HeaderLen))
		}
		s.w = copy(s.in[:], s.in[s.r:s.w])
		s.r = 0
		n, err := s.c.Read(s.room())
		if s.w += n; err != nil {
			return nil, s.lostLogin(err)
		}
		h, have = wire.ParseHeader(s.in[s.r:s.w])
	}
	if h.Seq != seq {
		return nil, s.refuseLogin(h.Seq+1, fault.BadLogin, fmt.Sprintf("packet number %d, want %d", h.Seq, seq))
	}
	p = s.in[s.r+wire.HeaderLen : s.r+wire.HeaderLen+h.Len]
	s.r += wire.HeaderLen + h.Len
	return p, true
}

// lostLogin ends a session whose client went away in the login, or took too long.
func (s *session) lostLogin(err error) bool {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.front.stats.refused.count(fault.LoginTimeout)
		return s.drop(sock.EndOurs)
	case err == io.EOF:
		s.front.stats.refused.count(fault.LoginAborted)
		return s.drop(sock.EndSilent)
	}
	s.front.stats.refused.count(fault.LoginAborted)
	return s.drop(sock.EndLost)
}

// refuseLogin answers a login that cannot be, and ends the session.
func (s *session) refuseLogin(seq uint8, k fault.Kind, more string) bool {
	s.logRefused(k, nil, more)
	s.tell(seq, k, more)
	return s.close()
}

// logRefused tells the operator who was not let in: the server sees weir's
// address alone, so nobody else can.
func (s *session) logRefused(k fault.Kind, user []byte, why string) {
	const mostShown = 64
	attrs := []any{"fold", "login " + k.String(), "listener", s.front.name, "client", s.peer.String(), "reason", k.String()}
	if user != nil {
		attrs = append(attrs, "user", string(user[:min(len(user), mostShown)]))
	}
	if why != "" {
		attrs = append(attrs, "err", why)
	}
	s.front.log.Warn("a login was refused", attrs...)
}

// denied refuses a client in a server's words, the same for every cause.
func (s *session) denied(seq uint8, l *wire.Login) bool {
	s.count(fault.AccessDenied)
	s.logRefused(fault.AccessDenied, l.User, "")
	using := "NO"
	if len(l.Proof) > 0 {
		using = "YES"
	}
	host := "localhost"
	if s.peer.IsValid() {
		host = s.peer.WithZone("").String()
	}
	var at int
	s.out, at = wire.BeginPacket(s.out[:0])
	s.out = wire.AppendERR(s.out, s.caps, wire.CodeAccessDenied, fmt.Sprintf("Access denied for user '%s'@'%s' (using password: %s)", l.User, host, using))
	s.out, _ = wire.EndPacket(s.out, at, seq)
	s.say(s.out)
	return s.close()
}

// startTLS puts TLS between the client and us. Nothing that came in clear behind
// the request is in s.in (room), where it would be taken for what comes inside.
func (s *session) startTLS() bool {
	var t *tls.Conn
	under := s.c
	s.c = sock.Layer(under, func(c net.Conn) net.Conn { t = tls.Server(c, s.set.TLS); return t })
	s.tls = true
	by := s.began.Add(s.set.LoginTimeout)
	s.c.SetReadDeadline(by)
	s.c.SetWriteDeadline(by)
	if err := t.Handshake(); err != nil {
		return s.lostLogin(err)
	}
	return true
}
