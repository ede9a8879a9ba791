package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"
)

const fullCaps = CapProtocol41 | CapSessionTrack | CapDeprecateEOF | CapLocalFiles

// frames makes an answer of payloads, the first with sequence number 1.
func frames(payloads ...string) (b []byte) {
	seq := uint8(1)
	for _, p := range payloads {
		b, seq = AppendPacket(b, []byte(p), seq)
	}
	return b
}

const (
	okPacket   = "\x00\x00\x00\x02\x00\x00\x00"
	okMore     = "\x00\x00\x00\x0a\x00\x00\x00"
	eofAsOK    = "\xfe\x00\x00\x02\x00\x00\x00"
	eofPacket  = "\xfe\x00\x00\x02\x00"
	eofCursor  = "\xfe\x00\x00\x42\x00"
	definition = "\x03def..."
	errPacket  = "\xff\x28\x04#42000no"
)

// scan feeds an answer in pieces of step bytes to the end or the first error.
func scan(b []byte, cmd Command, caps Caps, step int) (r *Response, events []Event, taken int, err error) {
	r = new(Response)
	r.Start(cmd, 1, caps)
	for fed := 0; ; {
		n, ev, err := r.Scan(b[taken:fed])
		taken += n
		if ev != EventNone {
			events = append(events, ev)
		}
		if err != nil || ev == EventEnd || ev == EventNone && fed == len(b) {
			return r, events, taken, err
		}
		if ev == EventNone {
			fed = min(fed+step, len(b))
		}
	}
}

func TestAnswersEndWhereTheProtocolSays(t *testing.T) {
	bigRow := "\xfe" + strings.Repeat("x", MaxPayload+10)
	exact := "\xfe" + strings.Repeat("x", MaxPayload-1)
	for _, test := range []struct {
		name string
		cmd  Command
		caps Caps
		b    []byte
		want []Event
	}{
		{"row of 16 MiB that starts with 0xFE", ComQuery, fullCaps, frames("\x01", definition, bigRow, "\x01a", eofAsOK), []Event{EventEnd}},
		{"row of exactly one full frame, then an empty one", ComQuery, fullCaps, frames("\x01", definition, exact, eofAsOK), []Event{EventEnd}},
		{"continuation that looks like an ERR", ComQuery, fullCaps, frames("\x01", definition, strings.Repeat("x", MaxPayload)+errPacket, eofAsOK), []Event{EventEnd}},
		{"definition of 16 MiB", ComQuery, fullCaps, frames("\x01", strings.Repeat("x", MaxPayload+1), eofAsOK), []Event{EventEnd}},
		{"text of 16 MiB", ComStatistics, fullCaps, frames(strings.Repeat("x", MaxPayload)), []Event{EventEnd}},
		{"NULL in the first column", ComQuery, fullCaps, frames("\x01", definition, "\xfb", eofAsOK), []Event{EventEnd}},
		{"300 columns", ComQuery, fullCaps, frames(append(append([]string{"\xfc\x2c\x01"}, strings.Split(strings.Repeat(definition+" ", 300), " ")[:300]...), eofAsOK)...), []Event{EventEnd}},
		{"more than 256 rows", ComQuery, fullCaps, frames(append(append([]string{"\x01", definition}, strings.Split(strings.Repeat("\x01a ", 600), " ")[:600]...), eofAsOK)...), []Event{EventEnd}},
		{"ERR among the rows", ComQuery, fullCaps, frames("\x01", definition, "\x01a", errPacket), []Event{EventEnd}},
		{"ERR among the definitions", ComQuery, fullCaps, frames("\x02", definition, errPacket), []Event{EventEnd}},
		{"results of several kinds", ComQuery, fullCaps, frames(okMore, "\x01", definition, "\xfe\x00\x00\x0a\x00\x00\x00", "\xfbf", okMore, okPacket), []Event{EventResult, EventResult, EventInfile, EventResult, EventEnd}},
		{"cursor without DEPRECATE_EOF", ComStmtExecute, CapProtocol41, frames("\x01", definition, eofCursor), []Event{EventEnd}},
		{"no cursor is made by COM_QUERY", ComQuery, CapProtocol41, frames("\x01", definition, eofCursor, "\x01a", eofPacket), []Event{EventEnd}},
		{"short EOF in spite of DEPRECATE_EOF", ComBinlogDump, fullCaps, frames("\x00event", eofPacket), []Event{EventEnd}},
		{"prepared", ComStmtPrepare, fullCaps, frames("\x00\x01\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00", definition, definition, definition), []Event{EventPrepared, EventEnd}},
		{"prepared without DEPRECATE_EOF", ComStmtPrepare, CapProtocol41, frames("\x00\x01\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00", definition, eofPacket, definition, definition, eofPacket), []Event{EventPrepared, EventEnd}},
		{"no answer", ComQuit, fullCaps, nil, []Event{EventEnd}},
		{"login that asks twice", ComChangeUser, fullCaps, frames("\xfecaching_sha2_password\x00nonce", "\x01\x03", okPacket), []Event{EventAuth, EventAuth, EventEnd}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, step := range []int{1 << 25, 4093, 1} {
				if step == 1 && len(test.b) > 1<<16 {
					continue
				}
				b := append(bytes.Clone(test.b), "the next answer"...)
				_, events, taken, err := scan(b, test.cmd, test.caps, step)
				if err != nil || taken != len(test.b) || string(eventBytes(events)) != string(eventBytes(test.want)) {
					t.Errorf("in pieces of %d: events %v, %d of %d bytes, %v; want %v", step, events, taken, len(test.b), err, test.want)
				}
			}
		})
	}
}

func eventBytes(events []Event) (b []byte) {
	for _, ev := range events {
		b = append(b, byte(ev))
	}
	return b
}

func TestAnswersThatAreNotUnderstoodAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		cmd  Command
		caps Caps
		b    []byte
		want string
	}{
		{"progress report", ComQuery, fullCaps, frames("\xff\xff\xff\x01\x02\x01\x00\x00\x00"), "progress report"},
		{"unasked file", ComQuery, fullCaps &^ CapLocalFiles, frames("\xfb/etc/passwd"), `the server wants the file "/etc/passwd" of a client without LOCAL_FILES`},
		{"more results of PING", ComPing, fullCaps, frames(okMore), "more results than one"},
		{"column count with bytes behind it", ComQuery, fullCaps, frames("\x01\x01"), "no number of columns"},
		{"column count of four bytes", ComQuery, fullCaps, frames("\xfd\x00\x00\x01"), "no number of columns"},
		{"zero columns", ComQuery, fullCaps, frames("\xfc\x00\x00"), "no number of columns"},
		{"EOF at the start", ComQuery, fullCaps, frames(eofAsOK), "starts with 0xfe"},
		{"EOF among the definitions", ComQuery, fullCaps, frames("\x02", definition, eofAsOK), "starts with 0xfe"},
		{"no EOF behind the definitions", ComQuery, CapProtocol41, frames("\x01", definition, "\x01a"), "behind the column definitions"},
		{"long EOF without DEPRECATE_EOF", ComQuery, CapProtocol41, frames("\x01", definition, eofPacket, eofAsOK), "7 bytes, want 5"},
		{"empty row", ComQuery, fullCaps, frames("\x01", definition, ""), "a packet of 0 bytes"},
		{"rows to PING", ComPing, fullCaps, frames("\x01"), "starts with 0x01"},
		{"short OK", ComPing, fullCaps, frames("\x00\x00\x00\x02"), "malformed mysql OK: status at byte 3: 1 bytes are left, 2 are needed"},
		{"OK with bytes behind it", ComPing, fullCaps, frames(okPacket + "\x01ab"), "1 bytes more"},
		{"OK without the data that its flag promises", ComPing, fullCaps, frames("\x00\x00\x00\x02\x40\x00\x00"), "info"},
		{"short ERR", ComPing, fullCaps, frames("\xff\x10"), "malformed mysql ERR: code at byte 1"},
		{"ERR of 10 KB", ComPing, fullCaps, frames("\xff\x10\x04" + strings.Repeat("x", 10000)), "a packet of 10003 bytes"},
		{"short PREPARE-OK", ComStmtPrepare, fullCaps, frames("\x00\x01\x00\x00\x00"), "PREPARE-OK has 5 bytes"},
		{"ERR where PREPARE is over for others", ComStmtPrepare, CapProtocol41, frames("\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", definition, errPacket), "behind the parameter definitions"},
		{"unknown command", 0x20, fullCaps, frames(okPacket), "not known"},
		{"sequence number again", ComQuery, fullCaps, append(frames("\x01"), frames(definition)...), "sequence number 1, want 2"},
		{"ERR before it was asked", ComQuery, fullCaps, []byte("\x05\x00\x00\x00\xff\xbf\x0fno"), "sequence number 0, want 1"},
		{"row out of turn", ComQuery, fullCaps, append(frames("\x01", definition, "\x01a"), "\x02\x00\x00\x09\x01a"...), "sequence number 9, want 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, step := range []int{1 << 20, 1} {
				r, _, taken, err := scan(test.b, test.cmd, test.caps, step)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
				if r.Ended() {
					t.Error("it says that the answer is over")
				}
				if _, _, again := r.Scan(test.b[taken:]); again == nil {
					t.Error("a second Scan gives no error")
				}
			}
		})
	}
}

// Servers of MySQL say why before they close an idle connection.
func TestAnErrorOutOfTurnIsNamed(t *testing.T) {
	_, _, _, err := scan([]byte("\x05\x00\x00\x00\xff\xbf\x0fno"), ComQuery, fullCaps, 100)
	var seq *SequenceError
	if !errors.As(err, &seq) || seq.Code != CodeClientTimeout || !strings.Contains(err.Error(), "mysql error 4031 out of turn") {
		t.Errorf("got %v", err)
	}
}

func TestALongOKPassesInPiecesAndSaysSo(t *testing.T) {
	for _, size := range []int{3 * MaxHeld, MaxPayload + 100} {
		t.Run(strconv.Itoa(size), func(t *testing.T) { passLongOK(t, size) })
	}
}

func passLongOK(t *testing.T, size int) {
	ok := OK{Affected: 1 << 40, InsertID: 1 << 50, Status: StatusAutocommit | StatusMoreResults, Warnings: 3, Info: []byte("info"),
		Track: appendText([]byte{byte(TrackSchema)}, appendText(nil, strings.Repeat("s", size)))}
	b, seq := AppendPacket(nil, AppendOK(nil, &ok, fullCaps), 1)
	long := len(b)
	b, _ = AppendPacket(b, []byte(okPacket), seq)
	for _, step := range []int{1 << 20, 100, 1} {
		if size > MaxPayload && step < 1<<20 {
			continue
		}
		r := new(Response)
		r.Start(ComQuery, 1, fullCaps)
		taken, fed := 0, 0
		for {
			n, ev, err := r.Scan(b[taken:fed])
			if err != nil {
				t.Fatal(err)
			}
			taken += n
			if ev == EventResult {
				if taken != long || !r.Partial || r.At != -1 || r.By != ByOK || r.OK.Affected != ok.Affected || r.OK.InsertID != ok.InsertID ||
					r.OK.Warnings != 3 || r.OK.Track != nil {
					t.Errorf("in pieces of %d, after %d bytes: %+v", step, taken, r)
				}
			}
			if ev == EventEnd {
				if taken != len(b) || r.Partial || r.At < 0 {
					t.Errorf("in pieces of %d, at the end: %+v", step, r)
				}
				break
			}
			if fed-taken > okHead+HeaderLen {
				t.Fatalf("%d bytes are held", fed-taken)
			}
			if ev == EventNone {
				fed = min(fed+step, len(b))
			}
		}
		// A client without trackers gets it short.
		client := fullCaps &^ CapSessionTrack
		e := exchange{cmds: []Command{ComQuery}, parts: [][]byte{b}, up: []int{0}}
		parts, _, err := translate(&e, fullCaps, client, 0, step)
		if err != nil {
			t.Fatal(err)
		}
		short := ok
		short.Info = nil
		want, next := AppendPacket(nil, AppendOK(nil, &short, client), 1)
		want, _ = AppendPacket(want, []byte(okPacket), next)
		if !bytes.Equal(parts[0], want) {
			t.Errorf("in pieces of %d: the client gets %x, want %x", step, parts[0], want)
		}
	}
}

func TestFilesThatAreSentMoveTheSequenceNumber(t *testing.T) {
	var r Response
	r.Start(ComQuery, 1, fullCaps)
	b := frames("\xfba.csv")
	if n, ev, err := r.Scan(b); n != len(b) || ev != EventInfile || err != nil || string(r.File) != "a.csv" {
		t.Fatal(n, ev, err)
	}
	// The file goes up in packets, the last of them empty.
	up, seq := []byte(nil), r.Seq()
	if seq != 2 {
		t.Fatalf("the file starts with %d, want 2", seq)
	}
	for range 300 {
		up, seq = AppendPacket(up, []byte("1,one\n"), seq)
	}
	up, _ = AppendPacket(up, nil, seq)
	var p Packet
	count := 0
	for p.Start(r.Seq()); ; p.Start(p.Seq()) {
		n, whole, err := p.Scan(up)
		if err != nil || !whole {
			t.Fatal(whole, err)
		}
		up = up[n:]
		if count++; p.Len() == 0 {
			break
		}
	}
	r.Sent(count)
	ok := AppendHeader(nil, len(okPacket), p.Seq())
	if _, ev, err := r.Scan(append(ok, okPacket...)); ev != EventEnd || err != nil {
		t.Error(ev, err)
	}
}

func TestResponseErrorsAreTold(t *testing.T) {
	_, _, _, err := scan(frames("\x01", definition, ""), ComQuery, fullCaps, 1)
	var re *ResponseError
	if !errors.As(err, &re) || err.Error() != "mysql answer to COM_QUERY: in the rows: a packet of 0 bytes" {
		t.Errorf("got %v", err)
	}
}

func TestStatementIDsAreRewrittenInPlace(t *testing.T) {
	for _, cmd := range []Command{ComStmtExecute, ComStmtBulkExecute, ComStmtFetch, ComStmtClose, ComStmtReset, ComStmtSendLongData} {
		p := append([]byte{byte(cmd)}, "\x01\x02\x03\x04rest"...)
		if id, ok := StmtID(p); !ok || id != 0x04030201 {
			t.Errorf("%s: %x, %v", cmd, id, ok)
		}
		if !PutStmtID(p, 77) || binary.LittleEndian.Uint32(p[1:]) != 77 || p[0] != byte(cmd) || string(p[5:]) != "rest" {
			t.Errorf("%s became %x", cmd, p)
		}
		if _, ok := StmtID(p[:4]); ok || PutStmtID(p[:4], 1) {
			t.Errorf("%s: an id is found in 4 bytes", cmd)
		}
	}
	query := []byte("\x03SELECT 1")
	if _, ok := StmtID(query); ok || PutStmtID(query, 1) || string(query) != "\x03SELECT 1" {
		t.Error("COM_QUERY has a statement's id")
	}
	if id, ok := StmtID([]byte("\x17\xff\xff\xff\xff\x00\x01\x00\x00\x00")); !ok || id != LastStmt {
		t.Error("-1 is not LastStmt")
	}
	for _, test := range []struct {
		p          string
		cursor, ok bool
	}{{"\x17\x01\x00\x00\x00\x01", true, true}, {"\x17\x01\x00\x00\x00\x00", false, true}, {"\x17\x01\x00\x00\x00", false, false}, {"\x1c\x01\x00\x00\x00\x01", false, false}} {
		if cursor, ok := WantsCursor([]byte(test.p)); cursor != test.cursor || ok != test.ok {
			t.Errorf("%x: cursor %v, %v", test.p, cursor, ok)
		}
	}
	if p := []byte(errPacket); PutPreparedID(p, 1) || string(p) != errPacket {
		t.Error("an ERR gets a statement's id")
	}
}

func TestThePreparedIDIsWhereTheEventSays(t *testing.T) {
	s := readStory(t, "statement-full")
	for _, e := range s.exchanges(t) {
		if e.cmds[0] != ComStmtPrepare || IsERR(e.parts[0][HeaderLen:]) {
			continue
		}
		var r Response
		r.Start(ComStmtPrepare, 1, s.caps)
		n, ev, err := r.Scan(e.parts[0])
		if ev != EventPrepared || err != nil {
			t.Fatal(ev, err)
		}
		b := bytes.Clone(e.parts[0])
		if !PutPreparedID(b[r.At+HeaderLen:n], 4242) {
			t.Fatal("no PREPARE-OK is there")
		}
		r.Start(ComStmtPrepare, 1, s.caps)
		if _, _, err := r.Scan(b); err != nil || r.Prepared.ID != 4242 {
			t.Error(r.Prepared, err)
		}
	}
}
