package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"weir/internal/reason"
	"weir/internal/sock"
	"weir/limiter"
	"weir/pool"
	"weir/proxy/fault"
	"weir/proxy/fault/nolease"
	"weir/proxy/mysql/lex"
	"weir/proxy/mysql/wire"
)

// A connection goes from one client to the next like this, by what the first has
// left on it (left):
//
//	             the client ends                      the next one begins
//	leftNothing  released                             its command is sent as it is
//	leftState    released                             restore and its command in one write
//	leftHeld     restore now, awaited, then released  its command is sent as it is
//
// restore is thread.restore: a reset and what a reset leaves. Transactions,
// locks and whatever others may feel, or a reset does not undo, are leftHeld.
// So nothing but steps that cannot fail stands before a client's command.

// resetKind says what became of a connection at the end of its session. The
// words become labels.
type resetKind uint8

const (
	resetLater   resetKind = iota // with the next client's first command
	resetNow                      // at once, because something may be held
	resetSkipped                  // proved not to be needed
	resetClosed                   // the connection was closed instead
	resetKinds
)

var resetNames = [resetKinds]string{"later", "now", "skipped", "closed"}

// rollbackTime bounds the reset of a session that may have a transaction to
// roll back.
const rollbackTime = 30 * time.Second

// mostStale is how many connections may be found dead under a first command
// before a new one is dialled for it.
const mostStale = 3

// attach leases a connection.
func (s *session) attach(fresh bool) error {
	var door limiter.Door
	if s.ticket, door = s.be.Guard.Enter(s.class()); door != limiter.DoorPass {
		return closedDoor(door)
	}
	err := s.acquire(fresh)
	if err != nil {
		s.judge(limiter.Ignored) // dials that fail are the pool's to hold down
	}
	return err
}

// acquire is attach once the backend is to be asked.
func (s *session) acquire(fresh bool) error {
	acquire := s.be.Pool.Acquire
	if fresh {
		acquire = s.be.Pool.AcquireFresh
	}
	lease, err := acquire(s.front.ctx, s.place.key, s.class())
	if err != nil {
		if d, ok := errors.AsType[*pool.DialError](err); ok && d.KeyOnly {
			s.place.forget()
		}
		switch nolease.Kind(err) {
		case fault.Shed, fault.QueueFull, fault.QueueTimeout:
			s.be.Guard.Shed(s.class())
		}
		return err
	}
	if lease.Waited() > 0 && s.hasLeft() {
		lease.Unused()
		return errLeft
	}
	s.be.Guard.Served(s.class())
	th := lease.Attached().(*thread)
	if th.idleMost > 0 {
		lease.LearnIdle(th.idleMost)
	}
	th.mixed, th.changed, th.oneShot = false, notPinned, false
	s.own = s.gave != 0 && th.gave == s.gave
	th.gave = 0
	s.lingers, s.asked, s.stated, s.selected, s.inserted, s.warned, s.wrote = false, false, false, false, false, false, false
	s.verbatim = wire.Verbatim(th.agreed, s.caps)
	s.lease, s.traits, s.noisy, s.used, s.dedicated, s.spoilt, s.rows = lease, 0, false, false, false, false, false
	s.mu.Lock()
	s.thread = th
	s.mu.Unlock()
	return nil
}

// class is how important the session is where it waits.
func (s *session) class() limiter.Class {
	if c := s.user.Class; c != 0 {
		return c
	}
	return s.set.Class
}

// holds says whether the server knows s's connection by id; for KILL.
func (s *session) holds(id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.thread != nil && uint64(s.thread.id) == id
}

// interrupt makes a session give up whose connection does not answer.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.thread != nil {
		s.thread.killed.Store(true) // nobody else may have the connection
		s.lease.Conn().Interrupt()
	}
}

// loosen takes the connection away from the session. After it, nobody marks the
// thread as killed any more.
func (s *session) loosen() (pool.Lease, *thread) {
	s.mu.Lock()
	lease, th := s.lease, s.thread
	s.lease, s.thread = pool.Lease{}, nil
	s.mu.Unlock()
	s.noLast, s.longData = false, false // all that was prepared is gone with it
	s.unpin()
	s.judge(limiter.Ignored)
	return lease, th
}

// abandon closes the connection, in whatever state it is.
func (s *session) abandon(why reason.Close) {
	if s.thread == nil {
		return
	}
	lease, _ := s.loosen()
	s.countReset(resetClosed)
	lease.Discard(why)
}

// detach gives the connection back.
func (s *session) detach() {
	if s.thread == nil {
		return
	}
	used, left := s.used, s.leaves()
	lease, th := s.loosen()
	switch {
	case !used && !th.killed.Load():
	case th.killed.Load() || s.dedicated:
		s.countReset(resetClosed)
		lease.Discard(reason.CloseKilled)
		return
	case s.spoilt:
		s.countReset(resetClosed)
		bye(lease.Conn()) // awaited as a reset is: what it held is free then
		lease.Discard(reason.CloseNotReset)
		return
	case left == leftHeld:
		if err := s.restoreNow(lease.Conn(), th); err != nil {
			s.countReset(resetClosed)
			lease.Discard(reason.CloseNotReset)
			return
		}
		s.countReset(resetNow)
	case left == leftState:
		th.left, th.gave = leftState, s.gave
		s.countReset(resetLater)
	default:
		if th.left == leftNothing {
			th.left = leftAnswers
		}
		s.countReset(resetSkipped)
	}
	lease.Release()
}

// leaves says what the session leaves on its connection.
func (s *session) leaves() left {
	th := s.thread
	switch {
	case !s.traits.Plain() || !th.idle() || !th.asBefore():
		return leftHeld
	case s.be.Proven && th.mariadb && s.traits.Pure() && !s.noisy && th.left <= leftAnswers:
		return leftNothing
	}
	return leftState
}

// restoreNow brings the session at the backend back to its beginning and waits
// for it. The client may be a parked one that has left.
func (s *session) restoreNow(c sock.Conn, th *thread) error {
	if s.work == nil {
		s.takeWork()
		defer s.giveWork() // not before the answers are looked at
	}
	packets := th.restore
	if th.multi {
		on := uint16(1) // MYSQL_OPTION_MULTI_STATEMENTS_OFF
		if th.agreed.Has(wire.CapMultiStatements) {
			on = 0
		}
		packets, _ = wire.AppendPacket(packets[:len(packets):len(packets)], []byte{byte(wire.ComSetOption), byte(on), 0}, 0)
	}
	if th.current != th.database || th.lostTrack {
		back := append([]byte{byte(wire.ComInitDB)}, th.database...)
		if th.database == "" {
			// No statement goes back to no database; one can tell that it is so.
			back = append(back[:0], askNoDatabase...)
		}
		packets, _ = wire.AppendPacket(packets[:len(packets):len(packets)], back, 0)
	}
	if err := s.perform(c, th, packets, rollbackTime); err != nil {
		return err
	}
	th.left, th.multi = leftNothing, false
	if th.database == "" && (th.current != "" || th.lostTrack) {
		if th.current != "" || s.affected != 0 {
			return errors.New("the session has chosen a database, and this connection is for those that have none")
		}
		th.left = leftAnswers
	}
	th.current = th.database
	// A reset turns the trackers on again, if the server has them on.
	th.lostTrack = th.untracked
	return nil
}

// askNoDatabase finds no row, and so affects none, if there is no default
// database. It is a command that is answered without rows.
var askNoDatabase = append([]byte{byte(wire.ComQuery)}, "SELECT 1 FROM DUAL WHERE DATABASE() IS NOT NULL INTO @weir"...)

// perform sends commands that are answered without rows, in one write, and waits
// until all are answered well.
func (s *session) perform(c sock.Conn, th *thread, packets []byte, within time.Duration) error {
	by := time.Now().Add(within)
	c.SetReadDeadline(by)
	c.SetWriteDeadline(by)
	_, n, err := c.Exchange(packets, s.back[:])
	if err != nil {
		return err
	}
	s.br, s.bw = 0, n
	for len(packets) > 0 {
		_, p, rest, _ := wire.NextFrame(packets)
		if err := s.settled(c, th, wire.Command(p[0])); err != nil {
			return err
		}
		packets = rest
	}
	if s.br != s.bw {
		return errors.New("bytes follow the last answer")
	}
	c.SetReadDeadline(zeroTime)
	c.SetWriteDeadline(zeroTime)
	th.changed = notPinned // as it is meant to
	return nil
}

// settled reads the answer to one of weir's own commands, of which more may be
// on the way. An ERR is a *Refusal.
func (s *session) settled(c sock.Conn, th *thread, cmd wire.Command) error {
	r := &s.resp
	r.Start(cmd, 1, th.agreed)
	for {
		n, ev, err := r.Scan(s.back[s.br:s.bw])
		s.br += n
		switch {
		case err != nil:
			return err
		case ev == wire.EventEnd && r.By == wire.ByERR:
			return refusalOf(&r.ERR)
		case ev == wire.EventEnd:
			th.track(r)
			s.affected = r.OK.Affected
			return nil
		case ev != wire.EventNone:
			return fmt.Errorf("an answer of several parts to %v", cmd)
		}
		s.bw = copy(s.back[:], s.back[s.br:s.bw])
		s.br = 0
		n, err = c.Read(s.back[s.bw:])
		if s.bw += n; n == 0 {
			return lost(err)
		}
	}
}

// mustRestore says whether what the last client has left must be undone before
// the first command of this one.
func (s *session) mustRestore(cmd wire.Command, sql []byte, traits lex.Traits) bool {
	if s.own {
		return false // nobody had it in between
	}
	switch s.thread.left {
	case leftNothing:
		return false
	case leftAnswers:
		// A SELECT replaces all that could be asked of an earlier statement, if
		// no view or function that it names asks for it first.
		const reads = lex.Unknown | lex.Names | lex.Previous | lex.Multi | lex.Sets
		return !s.be.Proven || cmd != wire.ComQuery || traits&reads != 0 || !selects(sql)
	}
	return true
}

// selects says whether a statement is a SELECT, without looking any closer.
func selects(sql []byte) bool {
	const word = "SELECT"
	return len(sql) > len(word) && bytes.EqualFold(sql[:len(word)], []byte(word)) && sql[len(word)] <= ' '
}

// asksFoundRows says whether a statement may read FOUND_ROWS, which a reset
// leaves as it was (MariaDB 10.11) and the first rows of a session replace.
func asksFoundRows(sql []byte) bool { return mentions(sql, "FOUND_ROWS") }

// noRows sets FOUND_ROWS to what a new session has.
var noRows, _ = wire.AppendPacket(nil, append([]byte{byte(wire.ComQuery)}, "SELECT 1 FROM DUAL WHERE FALSE"...), 0)

// forgetFoundRows is for a session that asks for them before it had any.
func (s *session) forgetFoundRows(c sock.Conn, th *thread, prefix int) error {
	packets := noRows
	if prefix > 0 { // behind it, a reset clears what else the SELECT has left
		packets = append(noRows[:len(noRows):len(noRows)], th.restore...)
	}
	if err := s.perform(c, th, packets, rollbackTime); err != nil {
		return err
	}
	if prefix > 0 {
		th.left = leftNothing
	}
	s.rows = true
	return nil
}

// enter sees that the user is let into the database. It asks the backend only if
// nobody has lately.
func (s *session) enter() error {
	now := time.Now()
	if s.place.known(now) {
		return nil
	}
	for try := range mostStale + 1 {
		if err := s.attach(try == mostStale); err != nil {
			return err
		}
		if !s.lease.Reused() { // it was let in just now
			break
		}
		th := s.thread
		packets := th.restore[:len(th.restore):len(th.restore)]
		if s.database != "" {
			packets, _ = wire.AppendPacket(packets, append([]byte{byte(wire.ComInitDB)}, s.database...), 0)
		}
		err := s.perform(s.lease.Conn(), th, packets, s.set.LoginTimeout)
		if err == nil {
			th.left = leftNothing
			break
		}
		s.abandon(reason.CloseNotReset)
		// What is refused may be the reset itself, of a role that was revoked,
		// and not the database.
		if r, ok := errors.AsType[*Refusal](err); ok && !th.mayFail {
			return r
		}
	}
	if s.thread == nil {
		return fmt.Errorf("%d connections in a row were found broken", mostStale)
	}
	s.place.vouch(now)
	s.detach()
	return nil
}

// failed answers a command for which there is no connection.
func (s *session) failed(seq uint8, err error) {
	if r, ok := errors.AsType[*Refusal](err); ok && r.keyOnly() {
		s.sayRefusal(seq, r)
		return
	}
	k := lackOf(err)
	nolease.Log(s.front.log, s.front.name, s.be.Name, k, err)
	s.tell(seq, k, "") // the rest has addresses and settings in it
}

// lackOf says why there is no connection. A server that answers and does not let
// the user in is not one that cannot be reached.
func lackOf(err error) fault.Kind {
	if d, ok := errors.AsType[closedDoor](err); ok {
		return d.kind()
	}
	if err == errLeft {
		return fault.ClientGone
	}
	d, dial := errors.AsType[*pool.DialError](err)
	if _, answered := errors.AsType[*Refusal](err); answered || dial && d.KeyOnly {
		return fault.BackendRefused
	}
	return nolease.Kind(err)
}

func (s *session) countReset(k resetKind) { s.counter().resets[k].Add(1) }
