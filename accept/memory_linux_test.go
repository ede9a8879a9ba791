package accept

import (
	"bufio"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/testnet"
)

const (
	gib      = 1 << 30
	rssBound = 64 << 20
	sendStop = 64 << 20  // where a sender stops for a while
	readStop = 128 << 20 // where a reader does
)

// pattern is what large bodies repeat. Its length is odd, so that no buffer's
// size divides it.
var pattern = func() []byte {
	b := make([]byte, 1<<20-1)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

// flow is how far a transfer has come at its two ends, in bytes. Each end stops
// once, until the other comes no further: the sender until every buffer between
// them is empty, the reader until every one is full.
type flow struct{ sent, got atomic.Int64 }

// still waits until a count has not moved for 50 ms.
func still(count *atomic.Int64) {
	last, since := count.Load(), time.Now()
	testnet.Poll(20*time.Second, func() bool {
		if now := count.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) >= 50*time.Millisecond
	})
}

// body reads a GiB of repeated pattern, in a transfer if flow is not nil.
type body struct {
	n, at int
	flow  *flow
}

func (b *body) Read(p []byte) (int, error) {
	if b.n == gib {
		return 0, io.EOF
	}
	room := gib - b.n
	if b.n < sendStop {
		room = sendStop - b.n
	}
	if b.flow != nil && b.n == sendStop {
		still(&b.flow.got)
	}
	n := copy(p[:min(len(p), room)], pattern[b.at:])
	b.at = (b.at + n) % len(pattern)
	b.n += n
	if b.flow != nil {
		b.flow.sent.Add(int64(n))
	}
	return n, nil
}

var patternSum = sync.OnceValue(func() uint32 {
	h := crc32.NewIEEE()
	io.Copy(h, new(body))
	return h.Sum32()
})

// sum reads all of r, the far end of a transfer, and returns its length and
// checksum.
func sum(r io.Reader, f *flow) (n int64, crc uint32, err error) {
	h := crc32.NewIEEE()
	w := io.MultiWriter(h, counter{&f.got})
	buf := make([]byte, 256<<10)
	if n, err = io.CopyBuffer(w, io.LimitReader(r, readStop), buf); err != nil {
		return n, h.Sum32(), err
	}
	still(&f.sent)
	m, err := io.CopyBuffer(w, struct{ io.Reader }{r}, buf)
	return n + m, h.Sum32(), err
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// mostRSS is the most resident memory that weir ever had, by the kernel's own
// mark, so no moment is missed.
func (w *weir) mostRSS() int64 {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	w.t.Fatal("no VmHWM")
	return 0
}

func TestAcceptAGiBPassesInLittleMemory(t *testing.T) {
	flows := map[string]*flow{"/up/length": {}, "/up/chunked": {}, "/down/length": {}, "/down/chunked": {}}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "POST":
			n, crc, err := sum(r.Body, flows[r.URL.Path])
			fmt.Fprintf(w, "%d %08x %v %d", n, crc, err, r.ContentLength)
		default:
			if r.URL.Path == "/down/length" {
				w.Header().Set("Content-Length", fmt.Sprint(gib))
			}
			buf := make([]byte, 256<<10)
			io.CopyBuffer(struct{ io.Writer }{w}, &body{flow: flows[r.URL.Path]}, buf)
		}
	}))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", ""))
	began := time.Now()

	up := func(path string, length int64) error {
		req, err := http.NewRequest("POST", w.url(path), &body{flow: flows[path]})
		if err != nil {
			return err
		}
		req.ContentLength = length
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, WriteBufferSize: 256 << 10}}).Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("%d %08x <nil> %d", gib, patternSum(), req.ContentLength); string(got) != want {
			return fmt.Errorf("the backend says %q, want %q (%v)", got, want, err)
		}
		return nil
	}
	down := func(path string, length int64) error {
		c, err := net.Dial("tcp", w.addr["web"])
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 256<<10), nil)
		if err != nil {
			return err
		}
		if resp.ContentLength != length {
			return fmt.Errorf("Content-Length %d, want %d", resp.ContentLength, length)
		}
		n, crc, err := sum(resp.Body, flows[path])
		if n != gib || crc != patternSum() || err != nil {
			return fmt.Errorf("%d bytes of checksum %08x, %v", n, crc, err)
		}
		return nil
	}
	var all sync.WaitGroup
	for name, f := range map[string]func() error{
		"up, Content-Length":   func() error { return up("/up/length", gib) },
		"up, chunked":          func() error { return up("/up/chunked", -1) },
		"down, Content-Length": func() error { return down("/down/length", gib) },
		"down, chunked":        func() error { return down("/down/chunked", -1) },
	} {
		all.Go(func() {
			if err := f(); err != nil {
				t.Errorf("1 GiB %s: %v", name, err)
			}
		})
	}
	all.Wait()
	took, most := time.Since(began), w.mostRSS()
	figure(t, "4 x 1 GiB, up and down, Content-Length and chunked at once: %.0f MiB/s, weir's memory at most %.1f MiB",
		4*1024/took.Seconds(), float64(most)/(1<<20))
	if most > rssBound {
		t.Errorf("weir's memory was %d MiB, promised are %d", most>>20, rssBound>>20)
	}
}

// A table of 8 million keys is 128 MiB, of which an idle weir has touched nothing.
func TestAcceptATableLargerThanGOMEMLIMITKeepsNobodyOut(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "limits: {per_rate: 1000/s, per_keys: 8388608}", ""), "env", "GOMEMLIMIT=100MiB")
	var page string
	if testnet.Poll(2*time.Second, func() bool { // eight looks, the first of them before any collection
		status, body := get(t, "http://"+w.admin+"/readyz")
		page = body
		return status != 200
	}) {
		t.Errorf("not ready: %s", page)
	}
	if _, page = get(t, "http://"+w.admin+"/metrics"); !strings.Contains(page, `weir_pressure{resource="memory"} 0.`) {
		t.Error("weir has not looked at its memory")
	}
	if status, body := get(t, w.url("/")); status != 200 || body != "hello" {
		t.Errorf("a client gets %d %q", status, body)
	}
}
