package storm

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"github.com/go-sql-driver/mysql"
)

// mysqlClient is a client of a MySQL target: connect, log in, one query, COM_QUIT.
type mysqlClient struct {
	s         *run
	link      *link
	query     string
	connector driver.Connector
	conn      driver.Conn // logged in, over link; nil: there is none

	// What once was called with, for the connector's dial.
	ctx      context.Context
	deadline time.Time
}

// newMySQLClient makes a connector of its own: the driver writes into a shared
// one's configuration where TLS is preferred and there is none.
func newMySQLClient(s *run, l *link, cfg *mysql.Config, query string) (*mysqlClient, error) {
	m := &mysqlClient{s: s, link: l, query: query}
	cfg = cfg.Clone()
	cfg.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		if err := l.dial(m.ctx, &s.t, m.deadline); err != nil {
			return nil, err
		}
		return &lent{Conn: l.conn, link: l}, nil
	}
	var err error
	m.connector, err = mysql.NewConnector(cfg)
	return m, err
}

// lent is a link in the driver's hands. The driver does not close it: hangUp
// does, after what else is to be seen of the connection's end.
type lent struct {
	net.Conn
	link *link
}

func (c *lent) Read(p []byte) (int, error)  { return c.link.Read(p) }
func (c *lent) Write(p []byte) (int, error) { return c.link.Write(p) }
func (c *lent) Close() error                { return nil }

func (m *mysqlClient) once(ctx context.Context, deadline time.Time) (err error) {
	defer func() {
		// The driver indexes into packets as if none were too short. It leaves a
		// goroutine behind then, where that was within the login.
		if v := recover(); v != nil {
			if _, ok := v.(runtime.Error); !ok {
				panic(v)
			}
			err = errNotMySQL
		}
	}()
	m.ctx, m.deadline = ctx, deadline
	// The driver gets no context: it would have a goroutine close the connection,
	// where the link's deadline ends all that waits.
	if m.conn == nil {
		c, err := m.connector.Connect(context.Background())
		if err != nil {
			return m.explain(err)
		}
		m.conn, m.link.some = c, false
	} else if err := m.link.arm(deadline); err != nil {
		return err
	}
	if _, err := m.conn.(driver.ExecerContext).ExecContext(context.Background(), m.query, nil); err != nil {
		return m.explain(err)
	}
	switch m.s.o.Mode {
	case Keepalive:
		return nil
	case ServerCloses:
		m.quit()
		if err := m.awaitEnd(); err != nil {
			return err
		}
	}
	m.hangUp()
	return nil
}

// quit says COM_QUIT, unless the driver has given the connection up.
func (m *mysqlClient) quit() {
	if m.conn != nil {
		m.conn.Close()
		m.conn = nil
	}
}

// awaitEnd reads until the server has closed.
func (m *mysqlClient) awaitEnd() error {
	var b [512]byte
	for {
		_, err := m.link.Read(b[:])
		switch {
		case err == io.EOF:
			return nil
		case err != nil, !m.s.t.encrypted: // TLS says its own goodbye
			return tailError(err)
		}
	}
}

func (m *mysqlClient) hangUp() {
	m.quit()
	m.link.hangUp()
}

// What is wrong with an answer. The texts are kinds.
var (
	errNotMySQL   = errors.New("the answer is not valid MySQL")
	errNoGreeting = errors.New("closed without a greeting")
	errInLogin    = errors.New("closed within the login")
	errPlugin     = errors.New("the server asks for a kind of login that is not known here")
	errNoTLS      = errors.New("the server has no TLS")
)

// explain returns what is behind an error of the driver: it hides those of the
// connection, and has advice for its own callers.
func (m *mysqlClient) explain(err error) error {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return refusal(plain(fmt.Sprintf("%d %s", e.Number, e.Message)))
	}
	end := m.link.err
	switch {
	case end == io.EOF && m.conn == nil && !m.link.some:
		return errNoGreeting
	case end == io.EOF && m.conn == nil:
		return errInLogin
	case end == io.EOF && m.link.some:
		return errHalf
	case end != nil:
		return end
	case errors.Is(err, mysql.ErrNoTLS):
		return errNoTLS
	}
	for _, e := range []error{mysql.ErrUnknownPlugin, mysql.ErrOldPassword, mysql.ErrCleartextPassword, mysql.ErrNativePassword} {
		if errors.Is(err, e) {
			return errPlugin
		}
	}
	for _, e := range []error{mysql.ErrInvalidConn, driver.ErrBadConn, mysql.ErrMalformPkt, mysql.ErrPktSync, mysql.ErrPktSyncMul, mysql.ErrOldProtocol, mysql.ErrBusyBuffer} {
		if errors.Is(err, e) {
			return errNotMySQL
		}
	}
	return err
}
