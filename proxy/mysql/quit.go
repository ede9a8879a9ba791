package mysql

import (
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/proxy/mysql/wire"
)

// quitPacket is COM_QUIT.
var quitPacket = []byte{1, 0, 0, 0, byte(wire.ComQuit)}

// Quit says goodbye and closes, for a pool; see pool.Options. The server counts
// a client that goes without a word as aborted, so only a connection that is in
// the middle of something is dropped.
func (s *Server) Quit(c sock.Conn, attached any, why reason.Close) sock.How {
	s.forget(attached.(*thread))
	switch why {
	case reason.CloseBackendFIN, reason.CloseStale, reason.CloseBackendError, reason.CloseBadResponse,
		reason.CloseTimeout, reason.CloseClientGone, reason.CloseUnsolicited, reason.CloseSlow:
		return sock.EndBackend(c)
	}
	return quit(c)
}

// quit says goodbye, unless somebody has, and closes.
func quit(c sock.Conn) sock.How {
	if c.Look() == sock.Quiet {
		bye(c)
	}
	return sock.EndAnswered(c)
}

// bye sends COM_QUIT and waits for the server's FIN, so that the server is the
// one who closes first and a reset can answer it: no TIME_WAIT at either side.
func bye(c sock.Conn) {
	c.SetWriteDeadline(quitBy())
	if _, err := c.Write(quitPacket); err == nil {
		c.SetReadDeadline(quitBy())
		c.Read(make([]byte, 1))
	}
}

func quitBy() time.Time { return time.Now().Add(quitTime) }

var zeroTime time.Time
