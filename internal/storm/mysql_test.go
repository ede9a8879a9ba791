package storm

import (
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/mysql/wire"
)

// packet frames a payload.
func packet(payload []byte, seq uint8) string {
	b, _ := wire.AppendPacket(nil, payload, seq)
	return string(b)
}

// greeting is one that a client logs in at.
func greeting() string {
	caps := wire.CapMySQL | wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth | wire.CapConnectWithDB
	return packet(wire.AppendGreeting(nil, &wire.Greeting{
		Version: []byte("8.0.0-fake"), ConnID: 1, Nonce: wire.NewNonce(), Caps: caps, Charset: 45, Plugin: []byte("mysql_native_password"),
	}), 0)
}

// ok is an OK packet that answers a command, or with seq 2 a login.
func ok(seq uint8) string { return packet(wire.AppendOK(nil, &wire.OK{}, wire.CapProtocol41), seq) }

// refused is an ERR packet.
func refused(code wire.Code, text string, seq uint8) string {
	return packet(wire.AppendERR(nil, wire.CapProtocol41, code, text), seq)
}

// read reads a packet of the client's.
func read(c *testnet.BackendConn) error {
	var head [4]byte
	if _, err := io.ReadFull(c.R, head[:]); err != nil {
		return err
	}
	_, err := c.R.Discard(int(head[0]) | int(binary.LittleEndian.Uint16(head[1:3]))<<8)
	return err
}

// What a server does that has said all it has to say.
type last int

const (
	closes  last = iota
	listens      // reads one packet, and closes
	stalls
)

// talk is a server that sends the first of says at once, and each next one when
// it has read a packet.
func talk(then last, says ...string) testnet.Script {
	return func(c *testnet.BackendConn) {
		for i, text := range says {
			if i > 0 && read(c) != nil || c.Send(text) != nil {
				return
			}
		}
		switch then {
		case listens:
			read(c)
		case stalls:
			c.Stall()
		}
	}
}

func mysqlOptions(b *testnet.Backend) Options {
	o := options("mysql://app:secret@" + b.Addr().String() + "/shop")
	o.Requests, o.Settle = 20, time.Millisecond
	return o
}

func TestFailuresOfMySQLAreCountedByKind(t *testing.T) {
	const code = wire.Code(1040)
	for name, test := range map[string]struct {
		script testnet.Script
		mode   Mode
		kind   string
	}{
		"good":                       {talk(listens, greeting(), ok(2), ok(1)), ServerCloses, ""},
		"nothing":                    {talk(closes), ClientCloses, "closed without a greeting"},
		"a greeting only":            {talk(listens, greeting()), ClientCloses, "closed within the login"},
		"no answer":                  {talk(listens, greeting(), ok(2)), ClientCloses, "closed without an answer"},
		"half an answer":             {talk(closes, greeting(), ok(2), ok(1)[:6]), ClientCloses, "closed within an answer"},
		"full in place of greeting":  {talk(closes, refused(code, "Too many connections (queue_full)", 0)), ClientCloses, "1040 Too many connections (queue_full)"},
		"refused login":              {talk(listens, greeting(), refused(1045, "Access denied", 2)), ClientCloses, "1045 Access denied"},
		"refused query":              {talk(stalls, greeting(), ok(2), refused(1146, "No such table", 1)), ClientCloses, "1146 No such table"},
		"a text for terminals":       {talk(closes, refused(code, "\x1b[2Jgo\naway\xff", 0)), ClientCloses, "1040 ?[2Jgo?away?"},
		"a text without end":         {talk(closes, refused(code, strings.Repeat("x", 400), 0)), ClientCloses, "1040 " + strings.Repeat("x", maxText-5) + "..."},
		"an ERR without a text":      {talk(closes, packet([]byte{0xff, 1, 4}, 0)), ClientCloses, "the answer is not valid MySQL"},
		"a greeting that is cut":     {talk(closes, packet([]byte("\x0a8.0\x00\x01\x00"), 0)), ClientCloses, "the answer is not valid MySQL"},
		"an answer that is cut":      {talk(stalls, greeting(), ok(2), packet([]byte{0xff}, 1)), ClientCloses, "the answer is not valid MySQL"},
		"a wrong sequence number":    {talk(stalls, greeting(), ok(2), ok(7)), ClientCloses, "the answer is not valid MySQL"},
		"an unknown kind of login":   {talk(stalls, greeting(), packet(wire.AppendAuthSwitch(nil, "dialog", []byte("x")), 2)), ClientCloses, errPlugin.Error()},
		"a password in clear text":   {talk(stalls, greeting(), packet(wire.AppendAuthSwitch(nil, "mysql_clear_password", nil), 2)), ClientCloses, errPlugin.Error()},
		"a reset":                    {func(c *testnet.BackendConn) { c.Send(greeting()); read(c); c.Reset() }, ClientCloses, "connection reset"},
		"no end":                     {talk(stalls, greeting(), ok(2), ok(1)), ServerCloses, "no clean end after the answer: timeout"},
		"more after the end":         {talk(stalls, greeting(), ok(2), ok(1)+ok(2)), ClientCloses, ""},
		"more in place of the close": {talk(stalls, greeting(), ok(2), ok(1), ok(0)), ServerCloses, "no clean end after the answer: more bytes"},
		"nothing is said":            {talk(stalls), ClientCloses, "timeout"},
		"no answer to the query":     {talk(stalls, greeting(), ok(2)), Keepalive, "timeout"},
	} {
		b := testnet.NewBackend(t, test.script)
		o := mysqlOptions(b)
		o.Mode = test.mode
		if strings.Contains(test.kind, "timeout") {
			o.Requests, o.Timeout = 8, 50*time.Millisecond
		}
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		want := o.Requests
		if test.kind == "" {
			want = 0
		}
		if r.Errors[test.kind] != want || r.Failed() != want {
			t.Errorf("%s: got %v", name, r.Errors)
		}
		b.Stop()
	}
}

func TestTLSIsNotGivenUpWhereItWasAskedFor(t *testing.T) {
	for value, want := range map[string]int{"true": 20, "skip-verify": 20, "preferred": 0, "false": 0} {
		b := testnet.NewBackend(t, talk(stalls, greeting(), ok(2), ok(1)))
		o := mysqlOptions(b)
		o.URL += "?tls=" + value
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Errors["the server has no TLS"] != want || r.Failed() != want {
			t.Errorf("tls=%s: got %v", value, r.Errors)
		}
		b.Stop()
	}
}

func TestAKeptConnectionThatIsLostIsReplaced(t *testing.T) {
	b := testnet.NewBackend(t, talk(listens, greeting(), ok(2), ok(1), ok(1))) // the third query is read and not answered
	o := mysqlOptions(b)
	o.Mode, o.Requests, o.Concurrency = Keepalive, 9, 1
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 6 || r.Errors["closed without an answer"] != 3 || b.Accepted() != 3 {
		t.Errorf("%d answered, %v, %d connections", r.Requests, r.Errors, b.Accepted())
	}
}
