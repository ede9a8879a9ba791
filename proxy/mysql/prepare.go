package mysql

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/proxy/mysql/wire"
)

// asked is what a fresh session tells of itself, by the columns of askAll.
type asked struct {
	role              string
	waitTimeout       string
	trackSchema       string
	sqlMode           string
	databaseCollation string
	serverCollation   string
}

// The questions. The first is for servers that know roles, the last for those
// without trackers.
const (
	askRest = "@@sql_mode, @@collation_database, @@collation_server"
	askAll  = "SELECT CURRENT_ROLE(), @@wait_timeout, @@session_track_schema, " + askRest
	askLess = "SELECT NULL, @@wait_timeout, @@session_track_schema, " + askRest
	askOld  = "SELECT NULL, @@wait_timeout, 0, " + askRest

	askedColumns = 6
)

// ask learns what a fresh session is like, and returns the steps that bring it
// back there.
func (l *login) ask(th *thread) ([]step, error) {
	for i, q := range []string{askAll, askLess, askOld} {
		row, err := l.query(q)
		if _, refused := errors.AsType[*Refusal](err); refused {
			continue
		}
		if err != nil {
			return nil, err
		}
		a := asked{row[0], row[1], row[2], row[3], row[4], row[5]}
		if n, err := strconv.Atoi(a.waitTimeout); err == nil && n > 0 {
			th.idleMost = time.Duration(n) * time.Second
		}
		th.untracked = a.trackSchema != "1" && !strings.EqualFold(a.trackSchema, "on")
		th.lostTrack = th.untracked
		return stepsOf(th, &a, i == 0, l.opt.Track), nil
	}
	return nil, errors.New("the server answers no simple SELECT, which is needed to know its sessions")
}

// step is a command of thread.restore.
type step struct {
	cmd      wire.Command
	text     string
	optional bool // left out where the server does not take it
	tracks   bool // it turns the trackers on
}

func (s *step) packet(dst []byte) []byte {
	dst, _ = wire.AppendPacket(dst, append([]byte{byte(s.cmd)}, s.text...), 0)
	return dst
}

// stepsOf works out what a reset leaves, or makes other than a login does. What
// is said of MariaDB was measured on 10.11.
func stepsOf(th *thread, a *asked, roles, track bool) []step {
	steps := []step{{cmd: wire.ComResetConnection}}
	if roles {
		role := setRole(th.mariadb, a.role)
		th.mayFail = role != noRole && th.mariadb // it may be revoked
		steps = append(steps, step{cmd: wire.ComQuery, text: role})
	}
	// MySQL's reset is documented to go to the server's character set, MariaDB's
	// goes back to the login's.
	if charset, collation, ok := wire.CharsetOf(th.charset); ok && !th.mariadb {
		steps = append(steps, step{cmd: wire.ComQuery, text: "SET NAMES " + charset + " COLLATE " + collation})
	}
	var sets []string
	if th.mariadb && a.databaseCollation != a.serverCollation && plain(a.databaseCollation) {
		sets = append(sets, "collation_database="+a.databaseCollation) // LOAD DATA goes by it
	}
	if th.caps.Has(wire.CapIgnoreSpace) && plain(a.sqlMode) {
		sets = append(sets, "sql_mode='"+a.sqlMode+"'")
	}
	if th.caps.Has(wire.CapInteractive) && plain(a.waitTimeout) {
		sets = append(sets, "wait_timeout="+a.waitTimeout)
	}
	if len(sets) > 0 {
		steps = append(steps, step{cmd: wire.ComQuery, text: "SET " + strings.Join(sets, ", "), optional: true})
	}
	if track { // last: it need not tell of the steps before
		steps = append(steps, step{cmd: wire.ComQuery, text: trackAll, optional: true, tracks: true})
	}
	return steps
}

// trackAll has the server tell of all changes that it can tell of. A reset turns
// it off; no privilege is needed for it.
const trackAll = "SET session_track_system_variables='*', session_track_state_change=ON, session_track_transaction_info='CHARACTERISTICS'"

// plain says whether a value of the server's may stand in a statement.
func plain(value string) bool {
	for _, c := range []byte(value) {
		if c != '_' && c != ',' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return value != ""
}

const noRole = "SET ROLE NONE"

func setRole(mariadb bool, role string) string {
	switch {
	case !mariadb:
		return "SET ROLE DEFAULT"
	case role == "" || role == "NONE":
		return noRole
	}
	return "SET ROLE `" + strings.ReplaceAll(role, "`", "``") + "`"
}

// command sends a command and reads its answer, which has no rows.
func (l *login) command(cmd []byte, caps wire.Caps) (*wire.Response, error) {
	if _, err := l.c.Write(cmd); err != nil {
		return nil, err
	}
	r := new(wire.Response)
	r.Start(wire.Command(cmd[wire.HeaderLen]), 1, caps)
	buf, at, end := l.buf[:cap(l.buf)], 0, 0
	for {
		n, ev, err := r.Scan(buf[at:end])
		at += n
		switch {
		case err != nil:
			return nil, err
		case ev == wire.EventEnd && r.By == wire.ByERR:
			return nil, refusalOf(&r.ERR)
		case ev == wire.EventEnd:
			return r, nil
		case ev != wire.EventNone:
			return nil, fmt.Errorf("an answer of several parts to %v", wire.Command(cmd[wire.HeaderLen]))
		}
		end = copy(buf, buf[at:end])
		at = 0
		n, err = l.c.Read(buf[end:])
		if end += n; n == 0 {
			return nil, lost(err)
		}
	}
}

// query asks for one row of texts; NULL is empty.
func (l *login) query(text string) (row [askedColumns]string, err error) {
	l.seq = 0
	if err = l.write(append([]byte{byte(wire.ComQuery)}, text...)); err != nil {
		return row, err
	}
	// A number of columns, their definitions, the row, and the end.
	packets := 1 + len(row) + 1 + 1
	at := 1 + len(row)
	if !l.caps.Has(wire.CapDeprecateEOF) {
		packets, at = packets+1, at+1
	}
	for i := range packets {
		p, err := l.read()
		if err != nil {
			return row, err
		}
		if wire.IsERR(p) {
			e, err := wire.ParseERR(p)
			if err != nil {
				return row, err
			}
			return row, refusalOf(&e)
		}
		if i != at {
			continue
		}
		for j := range row {
			const null = 0xfb
			if len(p) > 0 && p[0] == null {
				p = p[1:]
				continue
			}
			n, size := wire.Lenenc(p)
			if size == 0 || n > uint64(len(p)-size) {
				return row, fmt.Errorf("answer to %s: not understood", text)
			}
			row[j], p = string(p[size:size+int(n)]), p[size+int(n):]
		}
	}
	return row, nil
}
