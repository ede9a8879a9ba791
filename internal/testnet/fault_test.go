package testnet_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/testnet"
)

const sentence = "0123456789abcdefghij"

// faulty returns a FaultConn and its peer, who has sent the sentence.
func faulty(t *testing.T, read, write testnet.Fault) (*testnet.FaultConn, *testnet.PipeConn) {
	t.Helper()
	a, b := testnet.Pipe()
	c := testnet.NewFaultConn(a, read, write)
	if _, err := b.Write([]byte(sentence)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); b.Close() })
	return c, b
}

func TestAFaultStrikesAReadAfterItsBytes(t *testing.T) {
	for _, after := range []int64{0, 1, 7} {
		for kind, want := range map[testnet.FaultKind]error{
			testnet.FaultReset: syscall.ECONNRESET, testnet.FaultClose: io.EOF, testnet.FaultStall: os.ErrDeadlineExceeded,
		} {
			synctest.Test(t, func(t *testing.T) {
				c, _ := faulty(t, testnet.Fault{Kind: kind, After: after}, testnet.Fault{})
				c.SetReadDeadline(time.Now().Add(time.Hour))
				got := make([]byte, 0, 32)
				var err error
				for err == nil {
					var n int
					n, err = c.Read(got[len(got):cap(got)])
					got = got[:len(got)+n]
				}
				if string(got) != sentence[:after] || !errors.Is(err, want) {
					t.Errorf("%s after %d: %q, %v, want %q, %v", kind, after, got, err, sentence[:after], want)
				}
			})
		}
	}
}

func TestAFaultStrikesAWriteInTheMiddle(t *testing.T) {
	for kind, want := range map[testnet.FaultKind]error{
		testnet.FaultReset: syscall.ECONNRESET, testnet.FaultClose: syscall.EPIPE, testnet.FaultStall: os.ErrDeadlineExceeded,
	} {
		synctest.Test(t, func(t *testing.T) {
			c, peer := faulty(t, testnet.Fault{}, testnet.Fault{Kind: kind, After: 7, Slice: 3})
			c.SetWriteDeadline(time.Now().Add(time.Hour))
			n, err := c.Write([]byte(sentence))
			if n != 7 || !errors.Is(err, want) {
				t.Errorf("%s: wrote %d, %v, want 7, %v", kind, n, err, want)
			}
			buf := make([]byte, 32)
			if n, _ := io.ReadFull(peer, buf[:7]); string(buf[:n]) != sentence[:7] {
				t.Errorf("%s: the peer got %q", kind, buf[:n])
			}
			peer.SetReadDeadline(time.Now().Add(time.Second))
			_, err = peer.Read(buf)
			ends := map[testnet.FaultKind]error{
				testnet.FaultReset: syscall.ECONNRESET,
				testnet.FaultClose: syscall.ECONNRESET, // what it sent was unread
				testnet.FaultStall: os.ErrDeadlineExceeded,
			}
			if !errors.Is(err, ends[kind]) {
				t.Errorf("%s: the peer reads %v, want %v", kind, err, ends[kind])
			}
		})
	}
}

func TestAStalledReadEndsWithItsDeadlineOrWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := faulty(t, testnet.Fault{Kind: testnet.FaultStall}, testnet.Fault{})
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Hour))
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(start.Add(2 * time.Second)) })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %s, want a timeout at the moved deadline of 2s", err, time.Since(start))
		}
		c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { c.Close() })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, want closed", err)
		}
	})
}

func TestSlicesAndLatencySlowAConnectionDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := testnet.Fault{Slice: 5, Latency: time.Second}
		c, peer := faulty(t, slow, slow)
		start := time.Now()
		if n, err := c.Write([]byte(sentence)); n != 20 || err != nil || time.Since(start) != 4*time.Second {
			t.Errorf("wrote %d, %v in %s, want 20 in 4s", n, err, time.Since(start))
		}
		if n, err := c.Read(make([]byte, 20)); n != 5 || err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("read %d, %v at %s, want 5 at 5s", n, err, time.Since(start))
		}
		c.SetRead(testnet.Fault{})
		if n, err := c.Read(make([]byte, 20)); n != 15 || err != nil {
			t.Errorf("read %d, %v after the fault was taken away, want 15", n, err)
		}
		if n, err := peer.Read(make([]byte, 32)); n != 20 || err != nil {
			t.Errorf("the peer read %d, %v, want 20", n, err)
		}
	})
}

func TestAResetFaultResetsARealPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := testnet.NewFaultConn(s, testnet.Fault{}, testnet.Fault{Kind: testnet.FaultReset, After: 4})
	var wg sync.WaitGroup
	wg.Go(func() {
		got, err := io.ReadAll(d)
		if string(got) != sentence[:4] || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer read %q, %v", got, err)
		}
	})
	if _, err := io.Copy(c, strings.NewReader(sentence)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: %v", err)
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Errorf("Close after the fault: %v", err)
	}
}

func TestAFaultConnTakesFaultsLaterAndClosesByHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := faulty(t, testnet.Fault{}, testnet.Fault{})
		if _, err := c.Write([]byte("fine")); err != nil {
			t.Fatal(err)
		}
		c.SetWrite(testnet.Fault{Kind: testnet.FaultStall})
		c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want a stall until the deadline", err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(peer); err != nil || string(got) != "fine" {
			t.Errorf("the peer read %q, %v", got, err)
		}
	})
}
