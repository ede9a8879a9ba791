//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"testing"

	"weir/internal/testnet"
	"weir/proxy/mysql/wire"
)

// mysqlProtocol is a driver of MySQL whose queries are all the same.
//
// At its deadline a driver closes its connection, without COM_QUIT, and does not
// read on: the answer may still come, and to whom it belongs nobody would know.
// So do go-sql-driver when a context ends, and libmysqlclient, mysqlnd and
// PyMySQL when a read times out. Then it connects and logs in again. It does not
// say KILL, which few drivers do, and which would come too late for a query of
// 10 ms.
type mysqlProtocol struct{}

// mysqlCaps are what go-sql-driver and mysqlnd ask for, but for what is not used
// here. Every server offers them.
const mysqlCaps = wire.CapMySQL | wire.CapLongFlag | wire.CapConnectWithDB | wire.CapProtocol41 | wire.CapTransactions |
	wire.CapSecureConnection | wire.CapMultiResults | wire.CapPluginAuth

var (
	mysqlKey   = wire.NewNativeKey(testnet.MariaDBPassword)
	sleepQuery = command(wire.ComQuery, "SELECT SLEEP(0.01)")
	sleepRow   = []byte{2, 0, 0, 4, 1, '0'} // the fourth packet: nobody woke it up
)

func command(c wire.Command, text string) []byte {
	b, _ := wire.AppendPacket(nil, append([]byte{byte(c)}, text...), 0)
	return b
}

func (mysqlProtocol) request(bool) []byte { return sleepQuery }

// login answers the greeting, and takes what the server thinks of it.
func (mysqlProtocol) login(b []byte) (l login, ok bool, err error) {
	h, payload, _, ok := wire.NextFrame(b)
	if !ok {
		return l, false, nil
	}
	l.size = wire.HeaderLen + h.Len
	switch {
	case wire.IsERR(payload):
		e, err := wire.ParseERR(payload)
		if err != nil {
			return l, false, err
		}
		l.refused = &e
	case h.Seq > 0 && wire.AuthStepOf(payload) == wire.AuthDone:
		l.done = true
	case h.Seq > 0:
		return l, false, fmt.Errorf("packet %d is no OK: %.60q", h.Seq, payload)
	default:
		g, err := wire.ParseGreeting(payload)
		if err != nil {
			return l, false, err
		}
		l.say, _ = wire.AppendPacket(nil, wire.AppendLogin(nil, &wire.Login{Caps: mysqlCaps, MaxPacket: wire.MaxPayload, Charset: wire.CollationUTF8MB4,
			User: []byte(testnet.UserApp), Proof: mysqlKey.Proof(g.Nonce[:]), Database: []byte("app"), Plugin: []byte(wire.PluginNative)}), h.Seq+1)
	}
	return l, true, nil
}

// answer reads a result whose one row is 0, or an error.
func (mysqlProtocol) answer(b []byte) (a answer, ok bool, err error) {
	var r wire.Response
	r.Start(wire.ComQuery, 1, mysqlCaps)
	n, _, err := r.Scan(b)
	switch {
	case err != nil:
		return a, false, err
	case !r.Ended():
		return a, false, nil
	case r.By == wire.ByERR:
		return answer{result: int(r.ERR.Code), size: n}, true, nil
	case !bytes.Contains(b[:n], sleepRow):
		return a, false, fmt.Errorf("not the answer to SELECT SLEEP: %q", b[:n])
	}
	return answer{result: fine, size: n}, true, nil
}

func TestAnAnswerOfMySQLIsTakenWholeAndIsTheRightOne(t *testing.T) {
	const whole = "\x01\x00\x00\x01\x01" +
		"\x21\x00\x00\x02\x03def\x00\x00\x00\x0bSLEEP(0.01)\x00\x0c\x3f\x00\x01\x00\x00\x00\x03\x81\x00\x00\x00\x00" +
		"\x05\x00\x00\x03\xfe\x00\x00\x02\x00" +
		"\x02\x00\x00\x04\x010" +
		"\x05\x00\x00\x05\xfe\x00\x00\x02\x00"
	woken := bytes.Replace([]byte(whole), sleepRow, []byte{2, 0, 0, 4, 1, '1'}, 1)
	refusal, _ := wire.AppendPacket(nil, wire.AppendERR(nil, mysqlCaps, wire.CodeTooManyConnections, ""), 1)
	for _, c := range []struct {
		in   string
		want answer
		ok   bool
		bad  bool
	}{
		{in: whole, want: answer{result: fine, size: len(whole)}, ok: true},
		{in: whole + "x", want: answer{result: fine, size: len(whole)}, ok: true},
		{in: whole[:len(whole)-1]},
		{in: whole[:len(whole)-9]},
		{in: ""},
		{in: string(refusal), want: answer{result: 1040, size: len(refusal)}, ok: true},
		{in: string(woken), bad: true},
		{in: "\x05\x00\x00\x07\xfe\x00\x00\x02\x00", bad: true},
	} {
		got, ok, err := mysqlProtocol{}.answer([]byte(c.in))
		if ok != c.ok || (err != nil) != c.bad || ok && got != c.want {
			t.Errorf("%q: %+v, %v, %v; want %+v, %v, bad: %v", c.in, got, ok, err, c.want, c.ok, c.bad)
		}
	}
}
