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
	"testing"
	"time"
)

const (
	gib       = 1 << 30
	rssBound  = 64 << 20
	slowAfter = 64 << 20 // where the slow phase begins
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

// body reads n bytes of repeated pattern, slowly for a while where it is told.
type body struct {
	left, at int
	pause    <-chan time.Time
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.pause != nil && gib-b.left >= slowAfter {
		<-b.pause
		b.pause = nil
	}
	n := copy(p[:min(len(p), b.left)], pattern[b.at:])
	b.at = (b.at + n) % len(pattern)
	b.left -= n
	return n, nil
}

var patternSum = sync.OnceValue(func() uint32 {
	h := crc32.NewIEEE()
	io.Copy(h, &body{left: gib})
	return h.Sum32()
})

// sum reads all of r and returns its length and checksum. It stops reading for
// a while after the first slowAfter bytes, which fills every buffer before it.
func sum(r io.Reader) (n int64, crc uint32, err error) {
	h := crc32.NewIEEE()
	buf := make([]byte, 256<<10)
	if n, err = io.CopyBuffer(h, io.LimitReader(r, slowAfter), buf); err != nil {
		return n, h.Sum32(), err
	}
	<-time.After(300 * time.Millisecond)
	m, err := io.CopyBuffer(h, struct{ io.Reader }{r}, buf)
	return n + m, h.Sum32(), err
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
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "POST":
			n, crc, err := sum(r.Body)
			fmt.Fprintf(w, "%d %08x %v %d", n, crc, err, r.ContentLength)
		default:
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", fmt.Sprint(gib))
			}
			buf := make([]byte, 256<<10)
			io.CopyBuffer(struct{ io.Writer }{w}, &body{left: gib, pause: time.After(300 * time.Millisecond)}, buf)
		}
	}))
	defer backend.Close()
	w := start(t, oneBackend(backend.Listener.Addr().String(), "", ""))
	began := time.Now()

	up := func(chunked bool) error {
		req, err := http.NewRequest("POST", w.url("/"), &body{left: gib, pause: time.After(300 * time.Millisecond)})
		if err != nil {
			return err
		}
		req.ContentLength = gib
		if chunked {
			req.ContentLength = -1
		}
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
		n, crc, err := sum(resp.Body)
		if n != gib || crc != patternSum() || err != nil {
			return fmt.Errorf("%d bytes of checksum %08x, %v", n, crc, err)
		}
		return nil
	}
	var all sync.WaitGroup
	for name, f := range map[string]func() error{
		"up, Content-Length":   func() error { return up(false) },
		"up, chunked":          func() error { return up(true) },
		"down, Content-Length": func() error { return down("/length", gib) },
		"down, chunked":        func() error { return down("/chunked", -1) },
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
