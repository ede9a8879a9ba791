package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"weir/internal/sock"
	"weir/pool"
	"weir/proxy/mysql/wire"
)

// Connect connects and logs in, for a pool; see pool.Options. A login that the
// server refuses for its user or database is a *pool.KeyError of a *Refusal.
func (s *Server) Connect(ctx context.Context, key string) (sock.Conn, any, error) {
	opt, t := s.opt.Load(), parseKey(key)
	c, th, err := s.connect(ctx, opt, t)
	if err != nil {
		if s.learned.Load() == nil {
			s.failed.Store(&err)
		}
		return nil, nil, err
	}
	s.enter(th)
	return c, th, nil
}

func (s *Server) connect(ctx context.Context, opt *ServerOptions, t target) (sock.Conn, *thread, error) {
	user := opt.Users[t.user]
	if user == nil {
		return nil, nil, &pool.KeyError{Err: fmt.Errorf("user %q is not among backends[%s].users any more", t.user, opt.Name)}
	}
	// What cannot come to a login is found before the server is bothered: it
	// counts those who connect and go; see decline. But one connection is worth
	// its greeting, without which no client can come and tell what is missing.
	if err := wire.CheckLogin(&wire.Login{User: []byte(t.user), Database: []byte(t.database)}); err != nil {
		return nil, nil, &pool.KeyError{Err: err}
	}
	if !user.secret.usable() && s.learned.Load() != nil {
		return nil, nil, &pool.KeyError{Err: fmt.Errorf("user %q: %w", t.user, errNoSecret)}
	}
	c, err := sock.Dial(ctx, opt.Address, opt.Source)
	if err != nil {
		return nil, nil, err
	}
	ended := pool.Dialled(ctx, c)
	l := &login{server: s, opt: opt, user: user, target: t, c: c}
	stop := context.AfterFunc(ctx, func() { c.Interrupt() })
	th, err := l.run()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		ended(l.abandon())
		if e := ctx.Err(); e != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("login: not over within backends[%s].dial.timeout: %w", opt.Name, e)
		}
		return nil, nil, err
	}
	return l.c, th, nil
}

// login is one login at the backend.
type login struct {
	server *Server
	opt    *ServerOptions
	user   *User
	target
	c     sock.Conn
	tls   bool
	nonce []byte
	caps  wire.Caps
	seq   uint8  // of the next packet, whoever sends it
	buf   []byte // of packets
	done  bool   // the server waits for commands
	over  bool   // the server has refused us and is about to close
}

// abandon ends a login that failed, as politely as can be: servers count those
// that just go away, and shut out a host that does it too often. It says how the
// connection ended.
func (l *login) abandon() sock.How {
	if l.done {
		return quit(l.c)
	}
	if l.over {
		l.c.SetReadDeadline(quitBy())
		l.c.Read(make([]byte, 1))
	}
	return sock.EndBackend(l.c)
}

func (l *login) run() (*thread, error) {
	l.buf = make([]byte, 0, wire.HeaderLen+wire.MaxHeld)
	p, err := l.read()
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if wire.IsERR(p) {
		return nil, l.refused(p)
	}
	g, err := wire.ParseGreeting(p)
	if err != nil {
		return nil, err
	}
	l.server.greeted(&g)
	th := &thread{target: l.target, id: g.ConnID, mariadb: g.Caps.MariaDB(), current: l.database}
	l.nonce = append([]byte(nil), g.Nonce[:]...)
	l.caps = wire.Ask(g.Caps, l.target.caps, l.opt.TLS != nil)
	if err := l.encrypt(&g); err != nil {
		return nil, err
	}
	plugin := string(g.Plugin)
	proof, err := l.prove(&plugin)
	if err != nil {
		return nil, err
	}
	login := &wire.Login{
		Caps: l.caps, MaxPacket: 1 << 24, Charset: l.charset, User: []byte(l.target.user), Proof: proof,
		Database: []byte(l.database), Plugin: []byte(plugin),
	}
	if l.database != "" {
		login.Caps |= wire.CapConnectWithDB
	}
	login.Caps &^= wire.CapConnectAttrs
	l.caps = login.Caps
	if err := l.write(wire.AppendLogin(nil, login)); err != nil {
		return nil, err
	}
	if err := l.authenticate(plugin); err != nil {
		return nil, err
	}
	l.done = true
	th.agreed = l.caps
	if err := l.prepare(th); err != nil {
		return nil, err
	}
	l.c.SetReadDeadline(zeroTime)
	l.c.SetWriteDeadline(zeroTime)
	return th, nil
}

// encrypt puts TLS under the connection where it is asked for. That the server
// cannot is an error: a password must not go out in clear because somebody in
// between has cut the flag.
func (l *login) encrypt(g *wire.Greeting) error {
	if l.opt.TLS == nil {
		return nil
	}
	if !g.Caps.Has(wire.CapSSL) {
		return fmt.Errorf("the server offers no TLS, and backends[%s].tls.mode asks for it", l.opt.Name)
	}
	l.caps |= wire.CapSSL
	req := &wire.Login{Caps: l.caps, MaxPacket: 1 << 24, Charset: l.charset}
	if l.database != "" {
		req.Caps |= wire.CapConnectWithDB
	}
	req.Caps &^= wire.CapConnectAttrs
	if err := l.write(wire.AppendSSLRequest(nil, req)); err != nil {
		return err
	}
	var t *tls.Conn
	l.c = sock.Layer(l.c, func(c net.Conn) net.Conn { t = tls.Client(c, l.opt.TLS); return t })
	l.tls = true
	if err := t.Handshake(); err != nil { // bounded by the interrupt that connect has set
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return fmt.Errorf("tls: %w; backends[%s].tls says what is trusted", err, l.opt.Name)
		}
		return fmt.Errorf("tls: %w", err)
	}
	return nil
}

// prepare brings the new session into the state that every reset goes back to,
// and sees that the server takes what does it.
func (l *login) prepare(th *thread) error {
	steps, err := l.ask(th)
	if err != nil {
		return err
	}
	for i := range steps {
		packet := steps[i].packet(nil)
		r, err := l.command(packet, th.agreed)
		if _, refused := errors.AsType[*Refusal](err); refused && steps[i].optional {
			continue
		}
		if err != nil {
			return fmt.Errorf("the server does not take what a session is reset with: %w", err)
		}
		th.track(r)
		th.tracking = th.tracking || steps[i].tracks
		th.restore = append(th.restore, packet...)
		th.answers++
	}
	return nil
}

// read reads one packet of at most wire.MaxHeld bytes. It is good until the next.
func (l *login) read() ([]byte, error) {
	var head [wire.HeaderLen]byte
	if _, err := io.ReadFull(l.c, head[:]); err != nil {
		return nil, lost(err)
	}
	h, _ := wire.ParseHeader(head[:])
	if h.Len > wire.MaxHeld {
		return nil, fmt.Errorf("a packet of %d bytes during the login, the limit is %d: is backends[%s].endpoints a MySQL port?", h.Len, wire.MaxHeld, l.opt.Name)
	}
	if h.Seq != l.seq {
		return nil, &wire.SequenceError{Got: h.Seq, Want: l.seq}
	}
	l.seq++
	l.buf = l.buf[:h.Len]
	if _, err := io.ReadFull(l.c, l.buf); err != nil {
		return nil, lost(err)
	}
	return l.buf, nil
}

// errEnded is the end of a connection where an answer was due.
var errEnded = errors.New("the server closed the connection")

func lost(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errEnded
	}
	return err
}

func (l *login) write(payload []byte) error {
	b, next := wire.AppendPacket(nil, payload, l.seq)
	l.seq = next
	_, err := l.c.Write(b)
	return err
}

// refused makes an error of the server's ERR.
func (l *login) refused(p []byte) error {
	e, err := wire.ParseERR(p)
	if err != nil {
		return err
	}
	l.over = true
	r := refusalOf(&e)
	if r.keyOnly() {
		return &pool.KeyError{Err: r}
	}
	return r
}
