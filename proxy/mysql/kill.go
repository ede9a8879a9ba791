package mysql

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"weir/pool"
	"weir/proxy/fault"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// A KILL names a connection. Clients know them by weir's numbers, from their
// greeting, or by the server's, from CONNECTION_ID(); the server knows its own.
// So the number is exchanged, and the KILL goes to the server on a reserved
// connection of the client's user: there may be no other, and the server says
// who may kill whom. A KILL may arrive after the statement that it was meant
// for, so the connection that it names is never given to another client.

// killTime bounds a KILL, the reserved connection's login included.
const killTime = 5 * time.Second

// afterKill is how long a statement that was killed may take to end.
const afterKill = 10 * time.Second

// processKill is COM_PROCESS_KILL.
func (s *session) processKill(body []byte) bool {
	if len(body) != 4 {
		s.tell(1, fault.BadPacket, fmt.Sprintf("%v with %d bytes, want 4", s.cmd, len(body)))
		return s.close()
	}
	id := uint64(binary.LittleEndian.Uint32(body))
	const head = "KILL "
	text := strconv.AppendUint([]byte(head), id, 10)
	return s.kill(lex.KillStatement{ID: id, At: len(head), End: len(text)}, text)
}

// kill carries out the statement sql, which k was read from.
func (s *session) kill(k lex.KillStatement, sql []byte) bool { return s.killOnce(k, sql, true) }

// killOnce is kill; again says that it may be called once more, where the server
// does not know the target's connection: that has been marked, so it was closed as
// soon as its statement had ended, before the KILL came.
func (s *session) killOnce(k lex.KillStatement, sql []byte, again bool) bool {
	target := s.front.sessions.find(s.be, k.ID)
	thread := k.ID
	if target != nil {
		id, owner := target.mark()
		if thread = uint64(id); thread == 0 {
			if k.ID != uint64(target.id) {
				return s.noThread(k.ID) // it has just given that connection back
			}
			// It holds no connection, so it runs nothing, and there is no server
			// to say who may kill whom.
			if owner.Name != s.user.Name {
				return s.sayRefusal(1, &Refusal{Code: wire.CodeKillDenied, Text: fmt.Sprintf("You are not owner of thread %d "+
					"(weir: it holds no backend connection, so it can be ended by its own user only)", k.ID)})
			}
			switch {
			case target == s && k.Query:
				return s.sayRefusal(1, &Refusal{Code: wire.CodeQueryInterrupted, Text: wire.Text(wire.CodeQueryInterrupted)})
			case target == s:
				s.sayRefusal(1, &Refusal{Code: wire.CodeConnectionKilled, Text: wire.Text(wire.CodeConnectionKilled)})
				return s.close()
			case !k.Query:
				target.shoot()
			}
			return s.sayOK(1, s.okay())
		}
	}
	if target == nil && s.be.Server.ours(k.ID) {
		return s.noThread(k.ID) // nobody's at the moment; it could hit who gets it next
	}
	text := append([]byte{byte(wire.ComQuery)}, sql[:k.At]...)
	text = strconv.AppendUint(text, thread, 10)
	text = append(text, sql[k.End:]...)
	if target == s {
		s.thread.killed.Store(true)
		own, _ := wire.AppendPacket(nil, text, 0)
		s.cmd = wire.ComQuery
		return s.forward(own, nil, traitsOf(wire.ComProcessKill))
	}
	ctx, cancel := context.WithTimeout(s.front.ctx, killTime)
	defer cancel()
	r, sent, err := killOver(ctx, s.be.Pool, s.ownTarget(), text)
	refusal, refused := errors.AsType[*Refusal](err)
	if err != nil && sent && !refused {
		return s.sayERR(1, fault.BackendReset, err.Error()) // it may have been done
	}
	if again && target != nil && refused && refusal.Code == wire.CodeUnknownThread {
		return s.killOnce(k, sql, false)
	}
	if err != nil {
		s.failed(1, err)
		return true
	}
	s.counts.ok.Add(1)
	r.Track = nil
	return s.sayOK(1, &wire.OK{Affected: r.Affected, Status: s.okay().Status, Warnings: r.Warnings})
}

// noThread answers a KILL as a server does that knows no such connection.
func (s *session) noThread(id uint64) bool {
	return s.sayRefusal(1, &Refusal{Code: wire.CodeUnknownThread, Text: fmt.Sprintf("Unknown thread id: %d", id)})
}

// shoot ends a session that holds no connection, wherever it waits.
func (s *session) shoot() {
	s.killed.Store(true)
	s.mu.Lock()
	l := s.l
	s.mu.Unlock()
	l.Rouse(s.c)
}

// mark says that a KILL is about to be sent for the session's connection, and
// returns the server's number for it, 0 if there is none, and whose session it
// is.
func (s *session) mark() (thread uint32, owner *User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.thread == nil {
		return 0, s.user
	}
	s.thread.killed.Store(true)
	return s.thread.id, s.user
}

// ownTarget is a connection of the session's user, for a command of weir's.
func (s *session) ownTarget() string {
	t := target{user: s.user.Name, charset: wire.CollationUTF8MB4}
	return t.key()
}

// killOver sends a statement on a reserved connection and returns what the
// server said to it.
func killOver(ctx context.Context, p *pool.Pool, key string, query []byte) (ok wire.OK, sent bool, err error) {
	side, err := p.Reserve(ctx, key)
	if err != nil {
		return wire.OK{}, false, err
	}
	defer side.Close()
	c := side.Conn()
	by, _ := ctx.Deadline()
	c.SetReadDeadline(by)
	c.SetWriteDeadline(by)
	l := &login{c: c, buf: make([]byte, 0, wire.HeaderLen+wire.MaxHeld)}
	packet, _ := wire.AppendPacket(nil, query, 0)
	r, err := l.command(packet, side.Attached().(*thread).agreed)
	if err != nil {
		return wire.OK{}, true, err
	}
	return r.OK, true, nil
}

// stop kills the session's own statement, which has run for longer than it may,
// and says whether its end is to be awaited.
func (s *session) stop() bool {
	if s.be.QueryTimeout == 0 || s.stopped {
		return false
	}
	s.stopped = true
	id, _ := s.mark()
	s.count(fault.QueryTimeout)
	ctx, cancel := context.WithTimeout(s.front.ctx, killTime)
	defer cancel()
	_, _, err := killOver(ctx, s.be.Pool, s.ownTarget(), fmt.Appendf(nil, "%cKILL QUERY %d", wire.ComQuery, id))
	what := "a statement took too long and was killed"
	if err != nil {
		what = "a statement took too long and could not be killed"
	}
	attrs := []any{"fold", fault.QueryTimeout.String(), "listener", s.front.name, "backend", s.be.Name, "query_timeout", s.be.QueryTimeout, "user", s.user.Name}
	if err != nil {
		attrs = append(attrs, "err", err)
	}
	s.front.log.Log(ctx, fault.QueryTimeout.Row().Level, what, attrs...)
	if err != nil {
		return false
	}
	s.lease.Conn().SetReadDeadline(time.Now().Add(afterKill))
	return true
}
