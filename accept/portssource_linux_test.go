package accept

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
)

// 400 local ports hold 600 connections of one source, 300 to each of two
// backends: the range is there once for each destination. What weir shows of the
// ports is what ss does.
func TestAcceptASourceHasTheRangeForEachBackend(t *testing.T) {
	const source, ports, each = "127.0.0.5", 400, 300
	ns := testnet.NewNetns(t)
	// No listener gets one of the ports that are counted.
	ns.Sysctl("net.ipv4.ip_local_port_range", "30000 39999")
	var backends []string
	yaml, names := "backends:\n", []string{"a", "b"}
	for _, name := range names {
		address := heldBackend(t, ns, "127.0.0.1:0").Addr().String()
		backends = append(backends, address)
		yaml += fmt.Sprintf("  - {name: %s, endpoints: [%q], source: %s, pool: {max_open: %d}, dial: {rate: 2000/s}, queue: {timeout: 20s}, timeouts: {response_header: 10m}}\n",
			name, address, source, each)
	}
	prefix := ns.Command("x").Args
	w := start(t, `
listeners:
  - {name: web, protocol: http, address: "127.0.0.1:0", routes: [{path: /, backend: a, strip: true}, {path: /b, backend: b, strip: true}]}
`+yaml, prefix[:len(prefix)-1]...)
	ns.Sysctl("net.ipv4.ip_local_port_range", fmt.Sprintf("45000 %d", 45000+ports-1))

	// The clients' ports are from outside of the range, or they would use it up.
	client := 20000
	for _, path := range []string{"/hold", "/b/hold"} {
		for range each {
			client++
			c, err := dialFrom(ns, fmt.Sprintf("127.0.1.1:%d", client), w.addr["web"])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
		}
	}
	admin := w.kept(ns)
	testnet.WaitFor(t, 30*time.Second, "600 connections that wait for their answers", func() bool {
		s := w.statusFrom(ns)
		return s.Backends[0].Leased == each && s.Backends[1].Leased == each
	})
	var s socketStatus
	shown := func(i int) *portsOf {
		at := slices.IndexFunc(s.Backends[i].Ports, func(p portsOf) bool { return p.Endpoint == backends[i] })
		if len(s.Backends[i].Ports) != 1 || at < 0 {
			return nil
		}
		return &s.Backends[i].Ports[at]
	}
	testnet.WaitFor(t, 60*time.Second, "a list of the sockets", func() bool {
		s = w.sockets(admin)
		return shown(0) != nil && shown(0).InUse == each && shown(1) != nil && shown(1).InUse == each
	})
	used := map[string]int{} // local ports, by how many backends
	for i, name := range names {
		p := shown(i)
		figure(t, "backend %s: %d connections from %s over %d ports, %d free, headroom %.2f", name, p.InUse, p.Source, p.Ports, p.Free, p.Headroom)
		if p.Source != source || p.SourceAddress != source || p.Ports != ports || p.Free != ports-each || p.Headroom != 0.25 || p.TimeWaitOther != 0 {
			t.Errorf("backend %s: status says %+v", name, *p)
		}
		if own := s.Backends[i].owned("ours"); own["established"] != each {
			t.Errorf("backend %s: %v of ours, want %d established", name, own, each)
		}
		locals := ssLocals(t, ns, backends[i])
		for _, local := range locals {
			host, port, _ := net.SplitHostPort(local)
			if host != source {
				t.Errorf("backend %s: ss shows a connection from %s", name, local)
			}
			used[port]++
		}
		if len(locals) != each {
			t.Errorf("backend %s: ss shows %d connections, want %d", name, len(locals), each)
		}
	}
	twice := 0
	for _, n := range used {
		if n == 2 {
			twice++
		}
	}
	figure(t, "%d connections over %d of %d ports, %d of them used twice", 2*each, len(used), ports, twice)
	if len(used) > ports || twice < 2*each-ports {
		t.Errorf("%d connections over %d ports, %d of them twice", 2*each, len(used), twice)
	}
	if n := w.statusFrom(ns).Backends[0].Dials["local"]; n != 0 {
		t.Errorf("%d dials found no port", n)
	}
}

// dialFrom dials inside a namespace from an address and port.
func dialFrom(ns *testnet.Netns, local, address string) (c net.Conn, err error) {
	from, err := net.ResolveTCPAddr("tcp", local)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: from}
	ns.Do(func() { c, err = d.Dial("tcp", address) })
	return c, err
}

// ssLocals are the local addresses of the established connections to an address,
// as ss has them.
func ssLocals(t *testing.T, ns *testnet.Netns, addr string) (out []string) {
	t.Helper()
	text, err := ns.Command(testnet.NeedProgram(t, "ss"), "-Htn", "state", "established", "( dst "+addr+" )").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 4 {
			out = append(out, f[2]) // with a state given, ss leaves its column out
		}
	}
	return out
}
