package wire_test

import (
	"fmt"
	"strings"

	"weir/proxy/mysql/wire"
)

// A relay reads from the server, passes on what Scan has taken, and keeps the
// rest for the next turn.
func ExampleResponse() {
	const caps = wire.CapProtocol41 | wire.CapDeprecateEOF
	server := strings.NewReader("\x01\x00\x00\x01\x01" + // one column
		"\x07\x00\x00\x02\x03def..." + // its definition
		"\x02\x00\x00\x03\x01a" + "\x02\x00\x00\x04\x01b" + // two rows
		"\x07\x00\x00\x05\xfe\x00\x00\x02\x00\x00\x00") // OK in EOF's place

	var r wire.Response
	r.Start(wire.ComQuery, 1, caps)
	var client strings.Builder
	buf := make([]byte, wire.HeaderLen+wire.MaxHeld)
	have := 0
	for ev := wire.EventNone; ev != wire.EventEnd; {
		var n int
		var err error
		if n, ev, err = r.Scan(buf[:have]); err != nil {
			fmt.Println("close the backend:", err)
			return
		}
		client.Write(buf[:n])
		have = copy(buf, buf[n:have])
		if ev == wire.EventNone {
			k, _ := server.Read(buf[have : have+5]) // as little comes as may
			have += k
		}
	}
	fmt.Println(client.Len(), "bytes; in a transaction:", r.OK.Status.Has(wire.StatusInTrans))
	// Output: 39 bytes; in a transaction: false
}
