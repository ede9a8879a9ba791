package mysql

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/proxy/mysql/wire"
)

// prepare's questions. The first is for servers that know roles.
const (
	askAll  = "SELECT CURRENT_ROLE(), @@wait_timeout, @@session_track_schema"
	askLess = "SELECT NULL, @@wait_timeout, @@session_track_schema"
	askOld  = "SELECT NULL, @@wait_timeout, 0"
)

// ask learns what a fresh session is like. It returns the statement that sets
// the role that the session began with, empty where there are none.
func (l *login) ask(th *thread) (role string, err error) {
	for i, q := range []string{askAll, askLess, askOld} {
		row, err := l.query(q)
		if _, refused := errors.AsType[*Refusal](err); refused {
			continue
		}
		if err != nil {
			return "", err
		}
		if n, err := strconv.Atoi(row[1]); err == nil && n > 0 {
			th.idleMost = time.Duration(n) * time.Second
		}
		th.untracked = row[2] != "1" && !strings.EqualFold(row[2], "on")
		th.lostTrack = th.untracked
		if i > 0 {
			return "", nil
		}
		return setRole(th.mariadb, row[0]), nil
	}
	return "", errors.New("the server answers no simple SELECT, which is needed to know its sessions")
}

func setRole(mariadb bool, role string) string {
	switch {
	case !mariadb:
		return "SET ROLE DEFAULT"
	case role == "" || role == "NONE":
		return "SET ROLE NONE"
	}
	return "SET ROLE `" + strings.ReplaceAll(role, "`", "``") + "`"
}

// restorePackets makes thread.restore. MariaDB's reset goes back to the login's
// character set; MySQL's is documented to go back to the server's.
func restorePackets(th *thread, role string) (packets []byte, answers int) {
	add := func(cmd wire.Command, text string) {
		packets, _ = wire.AppendPacket(packets, append([]byte{byte(cmd)}, text...), 0)
		answers++
	}
	add(wire.ComResetConnection, "")
	if role != "" {
		add(wire.ComQuery, role)
	}
	if charset, collation, ok := wire.CharsetOf(th.charset); ok && !th.mariadb {
		add(wire.ComQuery, "SET NAMES "+charset+" COLLATE "+collation)
	}
	return packets, answers
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

// query asks for one row of three texts; NULL is empty.
func (l *login) query(text string) (row [3]string, err error) {
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
