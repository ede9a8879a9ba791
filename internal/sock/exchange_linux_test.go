package sock_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/sock"
)

// oddBackend answers each request, a length and a number of eight bytes each
// and then the rest, with that number as often as the length says. It answers
// in slices, closes and resets by chance, and says in its first byte what it
// will do after the answer, so that the client knows what must not surprise it.
type oddBackend struct {
	t  *testing.T
	ln net.Listener
}

const (
	stays    = iota // the connection goes on
	closes          // a FIN follows the answer at once
	resets          // a reset follows the answer, when it was read
	silent          // no answer: a FIN
	resetsNo        // no answer: a reset
	half            // half an answer and a FIN
	fates
)

func (b *oddBackend) serve(c *net.TCPConn, seed uint64) {
	defer c.Close()
	rng := rand.New(rand.NewPCG(seed, 1))
	var head [24]byte
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size, number, rest := binary.BigEndian.Uint64(head[:]), head[8:16], binary.BigEndian.Uint64(head[16:])
		if _, err := io.CopyN(io.Discard, c, int64(rest)); err != nil {
			return
		}
		fate := byte(stays)
		if rng.IntN(4) == 0 {
			fate = byte(rng.IntN(fates))
		}
		answer := append([]byte{fate}, bytes.Repeat(number, int(size))...)
		switch fate {
		case silent:
			return
		case resetsNo:
			c.SetLinger(0)
			return
		case half:
			c.Write(answer[:rng.IntN(len(answer)-1)+1])
			return
		}
		for len(answer) > 0 {
			n := min(len(answer), 1+rng.IntN(1+rng.IntN(3000)))
			if _, err := c.Write(answer[:n]); err != nil {
				b.t.Errorf("backend's write: %v", err)
				return
			}
			answer = answer[n:]
		}
		switch fate {
		case closes:
			return
		case resets:
			if _, err := io.ReadFull(c, head[:1]); err != nil { // the client says that it has it
				b.t.Errorf("backend's read: %v", err)
			}
			c.SetLinger(0)
			return
		}
	}
}

func TestNoExchangeIsLostOrWrongWhateverTheBackendDoes(t *testing.T) {
	const workers, each = 20, 1000
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b := &oddBackend{t, ln}
	go func() { // ends with the listener
		for seed := uint64(1); ; seed++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go b.serve(c.(*net.TCPConn), seed)
		}
	}()
	var seen [fates]atomic.Int64
	var dialled atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(w)))
			var c sock.Conn
			defer func() {
				if c != nil {
					sock.EndBackend(c)
				}
			}()
			for i := range each {
				if c != nil && c.Look() != sock.Quiet {
					t.Errorf("worker %d, exchange %d: a connection that goes on is %s", w, i, c.Look())
					sock.EndBackend(c)
					c = nil
				}
				if c == nil {
					var err error
					if c, err = sock.Dial(t.Context(), ln.Addr().String(), netip.Addr{}); err != nil {
						t.Error(err)
						return
					}
					dialled.Add(1)
				}
				fate, err := exchangeOnce(c, rng, uint64(w)<<32|uint64(i)|1<<63)
				if err != nil {
					t.Errorf("worker %d, exchange %d: %v", w, i, err)
				}
				seen[fate].Add(1)
				if fate != stays || err != nil {
					sock.EndBackend(c)
					c = nil
				}
			}
		})
	}
	wg.Wait()
	for fate := range seen {
		if seen[fate].Load() == 0 {
			t.Errorf("fate %d was never met", fate)
		}
	}
	t.Logf("figure: %d exchanges on %d connections, by fate %v", workers*each, dialled.Load(), counts(&seen))
}

func counts(a *[fates]atomic.Int64) (out [fates]int64) {
	for i := range a {
		out[i] = a[i].Load()
	}
	return out
}

// exchangeOnce makes one exchange and checks it. It returns what the backend did.
func exchangeOnce(c sock.Conn, rng *rand.Rand, number uint64) (fate int, err error) {
	size := 1 + rng.IntN(1+rng.IntN(1000))
	rest := rng.IntN(200)
	if rng.IntN(50) == 0 {
		rest = rng.IntN(300 << 10) // beyond what the one park takes
	}
	req := make([]byte, 24+rest)
	binary.BigEndian.PutUint64(req, uint64(size))
	binary.BigEndian.PutUint64(req[8:], number)
	binary.BigEndian.PutUint64(req[16:], uint64(rest))
	buf := make([]byte, 1+rng.IntN(16<<10))
	c.ReadWithin(20 * time.Second)
	c.WriteWithin(20 * time.Second)
	wrote, n, err := c.Exchange(req, buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return stays, errors.New("lost: no answer and no end in 20 s")
	}
	if n == 0 { // a FIN or a reset without an answer
		if err == nil {
			return stays, errors.New("0 bytes without an error")
		}
		if err == io.EOF && wrote != len(req) {
			return stays, errors.New("a FIN before the request was written")
		}
		if err == io.EOF {
			return silent, nil
		}
		return resetsNo, nil
	}
	if err != nil || wrote != len(req) {
		return stays, errors.Join(errors.New("an answer and an error"), err)
	}
	fate = int(buf[0])
	got := append([]byte(nil), buf[1:n]...)
	for len(got) < 8*size {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			if fate == half {
				return half, nil
			}
			return fate, errors.Join(errors.New("an answer that breaks off"), err)
		}
	}
	for i := range got {
		if got[i] != req[8+i%8] {
			return fate, errors.New("a byte of another answer")
		}
	}
	if len(got) != 8*size {
		return fate, errors.New("more bytes than the answer has")
	}
	if fate == resets {
		if _, err := c.Write([]byte{1}); err != nil {
			return fate, err
		}
	}
	return fate, nil
}

// A backend that closes an idle connection does so at any moment; the client
// looks, and sends if it sees nothing. Whatever it misses must come out as an
// error, at once.
func TestACloseThatCrossesTheRequestIsNoticed(t *testing.T) {
	const rounds = 1500
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var seen, missed int
	for i := range rounds {
		c, err := sock.Dial(t.Context(), ln.Addr().String(), netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		start := make(chan struct{})
		go func() {
			<-start
			if i%2 == 0 {
				server.(*net.TCPConn).SetLinger(0)
			}
			server.Close()
		}()
		close(start)
		for range i % 50 {
			c.LocalAddr()
		}
		if c.Look() != sock.Quiet {
			seen++
		} else {
			c.ReadWithin(20 * time.Second)
			_, n, err := c.Exchange([]byte("hello"), make([]byte, 10))
			if n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("round %d: %d bytes, %v", i, n, err)
			}
			missed++
		}
		sock.EndBackend(c)
	}
	t.Logf("figure: of %d closes that crossed a request %d were seen by the look and %d by the exchange", rounds, seen, missed)
}
