package accept

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/mysql/wire"
)

// wireClient is a client that has logged in and holds nothing but its socket.
type wireClient struct{ net.Conn }

// plainCaps are what MariaDB's and MySQL's client libraries ask for.
const plainCaps = wire.CapMySQL | wire.CapLongFlag | wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth |
	wire.CapConnectWithDB | wire.CapTransactions | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapDeprecateEOF

// dialWire logs in as UserApp from an address of this machine's.
func dialWire(address, from string) (wireClient, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 20 * time.Second}
	d.SetMultipathTCP(false)
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return wireClient{}, err
	}
	c := wireClient{conn}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := c.login(); err != nil {
		c.Close()
		return wireClient{}, fmt.Errorf("login: %w", err)
	}
	c.SetDeadline(time.Time{})
	return c, nil
}

func (c wireClient) login() error {
	p, err := c.packet()
	if err != nil {
		return err
	}
	g, err := wire.ParseGreeting(p)
	if err != nil {
		return err
	}
	proof := wire.NewNativeKey(testnet.MariaDBPassword).Proof(g.Nonce[:])
	b, _ := wire.AppendPacket(nil, wire.AppendLogin(nil, &wire.Login{
		Caps: plainCaps, MaxPacket: 1 << 24, Charset: wire.CollationUTF8MB4, User: []byte(testnet.UserApp),
		Proof: proof, Database: []byte("app"), Plugin: []byte(wire.PluginNative),
	}), 1)
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err = c.packet()
	return err
}

// packet reads one packet; the server's error is an error.
func (c wireClient) packet() ([]byte, error) {
	var head [wire.HeaderLen]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	h, _ := wire.ParseHeader(head[:])
	p := make([]byte, h.Len)
	if _, err := io.ReadFull(c, p); err != nil {
		return nil, err
	}
	if wire.IsERR(p) {
		e, err := wire.ParseERR(p)
		return nil, errors.Join(fmt.Errorf("error %d: %s", e.Code, e.Text), err)
	}
	return p, nil
}

// ask makes a query that is answered with one row of one value.
func (c wireClient) ask(query string) (string, error) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	b, _ := wire.AppendPacket(nil, append([]byte{byte(wire.ComQuery)}, query...), 0)
	if _, err := c.Write(b); err != nil {
		return "", err
	}
	var all [4][]byte // the number of columns, the column, the row, the end
	for i := range all {
		var err error
		if all[i], err = c.packet(); err != nil {
			return "", err
		}
	}
	row := all[2]
	n, size := wire.Lenenc(row)
	if !bytes.Equal(all[0], []byte{1}) || size == 0 || int(n) != len(row)-size {
		return "", fmt.Errorf("%s: answered by %x", query, all)
	}
	return string(row[size:]), nil
}

// loginMany logs n clients in, 16 at a time and from four addresses, so that
// there are ports for all.
func loginMany(t *testing.T, address string, n int) []wireClient {
	t.Helper()
	clients := make([]wireClient, n)
	next := make(chan int)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := range next {
				c, err := dialWire(address, fmt.Sprintf("127.0.0.%d", 2+i%4))
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					continue
				}
				clients[i] = c
			}
		})
	}
	for i := range n {
		if t.Failed() {
			break
		}
		next <- i
	}
	close(next)
	all.Wait()
	t.Cleanup(func() {
		for _, c := range clients {
			if c.Conn != nil {
				c.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return clients
}

// footprint is what weir holds after a garbage collection, in bytes.
type footprint struct {
	resident int // of the process, its program's file left out
	inUse    int // live heap and stacks
}

func (w *weir) footprint() (f footprint) {
	w.t.Helper()
	var profile string
	for range 3 { // the second frees what the first one only unhooked
		resp, err := http.Get("http://" + w.admin + "/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			w.t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			w.t.Fatalf("heap profile: %s %v", resp.Status, err)
		}
		profile = string(b)
	}
	var heap, stacks int
	for line := range strings.Lines(profile) {
		fmt.Sscanf(line, "# HeapAlloc = %d", &heap)
		fmt.Sscanf(line, "# Stack = %d /", &stacks)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kb); n == 1 {
			f.resident = kb << 10
		}
	}
	f.inUse = heap + stacks
	if heap == 0 || stacks == 0 || f.resident == 0 {
		w.t.Fatalf("weir's memory: heap %d, stacks %d, resident %d", heap, stacks, f.resident)
	}
	return f
}

func TestAcceptLoggedInMySQLClientsCostLittleAndWorkAtOnce(t *testing.T) {
	const n, asking, most = 10000, 100, 4 << 10
	m := testnet.StartMariaDB(t)
	w := start(t, fmt.Sprintf(`
listeners:
  - {name: db, protocol: mysql, address: "127.0.0.1:0", backend: orders, max_clients: %d}
backends:
  - name: orders
    endpoints: ["%s"]
    pool: {max_open: %d}
    users: [{name: %s, password: %s}]
    mysql: {server_version: %s}
admin: {pprof: true}
`, n+asking, m.Address(), asking, testnet.UserApp, testnet.MariaDBPassword, m.Variable("version")))

	// Whatever grows with the first clients has grown before the base is taken.
	for _, c := range loginMany(t, w.addr["db"], asking) {
		if _, err := c.ask("SELECT 1"); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	clients := func() int64 { return w.status().Listeners[0].Clients }
	testnet.WaitFor(t, 20*time.Second, "the first clients to be gone", func() bool { return clients() == 0 })
	base := w.footprint()

	began := time.Now()
	all := loginMany(t, w.addr["db"], n)
	took := time.Since(began)
	testnet.WaitFor(t, 20*time.Second, "all clients parked", func() bool { return w.status().Listeners[0].Parked == n })
	if leased := w.status().Backends[0].Leased; leased > 0 {
		t.Errorf("%d backend connections are held by clients that have asked nothing", leased)
	}
	with := w.footprint()
	if got := clients(); got != n {
		t.Errorf("weir has %d clients, want %d", got, n)
	}
	resident, inUse := (with.resident-base.resident)/n, (with.inUse-base.inUse)/n
	figure(t, "%d logged-in MySQL clients, idle: %d bytes in use each, %d resident (%.1f MiB in all); logged in at %.0f a second",
		n, inUse, resident, float64(with.resident)/(1<<20), n/took.Seconds())
	// Without raw sockets each client has a goroutine: that is not what is promised.
	if len(buildTags) == 0 {
		if inUse > most {
			t.Errorf("an idle client costs %d bytes in use, at most %d are promised", inUse, most)
		}
		speed(t, resident <= most, "resident memory of weir for an idle MySQL client: %d bytes, at most %d", resident, most)
	}

	var wg sync.WaitGroup
	began = time.Now()
	for _, i := range rand.Perm(n)[:asking] {
		wg.Go(func() {
			want := fmt.Sprint(i)
			if got, err := all[i].ask("SELECT " + want); err != nil || got != want {
				t.Errorf("client %d asked for %s and got %q, %v", i, want, got, err)
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	figure(t, "%d of them asked at once and were answered in %v", asking, took.Round(time.Millisecond))
	if got := m.Connections(testnet.UserApp); got > asking {
		t.Errorf("the server has %d connections, max_open is %d", got, asking)
	}
}
