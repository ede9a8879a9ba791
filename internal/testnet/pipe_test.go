package testnet_test

import (
	"bytes"
	"context"
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

// bubble runs f in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestAPipeCarriesBytesBothWaysAndClosesByHalves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := testnet.Pipe()
		defer a.Close()
		defer b.Close()
		big := bytes.Repeat([]byte("0123456789"), 50_000) // more than the buffer
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := a.Write(big); n != len(big) || err != nil {
				t.Errorf("wrote %d of %d, %v", n, len(big), err)
			}
			if err := a.CloseWrite(); err != nil {
				t.Error(err)
			}
			if _, err := a.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after CloseWrite: %v", err)
			}
		})
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, big) {
			t.Errorf("read %d of %d, %v", len(got), len(big), err)
		}
		wg.Wait()
		if _, err := b.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 10)
		if n, err := a.Read(buf); err != nil || string(buf[:n]) != "answer" {
			t.Errorf("%q, %v after a half close", buf[:n], err)
		}
	})
}

func TestAPipeKeepsItsDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := testnet.Pipe()
		defer a.Close()
		defer b.Close()
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		_, err := a.Read(make([]byte, 1))
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != time.Second {
			t.Errorf("read: %v after %s, want a timeout after 1s", err, time.Since(start))
		}
		a.SetReadDeadline(time.Time{})
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != 64<<10 {
			t.Errorf("write: %d, %v, want the buffer's 65536 and a timeout", n, err)
		}
		// A deadline in the past wakes a read that waits already.
		time.AfterFunc(time.Second, func() { b.SetReadDeadline(time.Unix(1, 0)) })
		if _, err := io.ReadAll(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestClosingAPipeWithUnreadBytesResetsThePeer(t *testing.T) {
	for _, unread := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			a, b := testnet.Pipe()
			defer a.Close()
			if unread {
				a.Write([]byte("nobody reads this"))
			}
			b.Close()
			want := io.EOF
			if unread {
				want = syscall.ECONNRESET
			}
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, want) {
				t.Errorf("unread %t: read %v, want %v", unread, err, want)
			}
			if _, err := a.Write([]byte{1}); err == nil {
				t.Errorf("unread %t: a write to a closed peer succeeded", unread)
			}
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after Close: %v", err)
			}
			if err := b.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("second Close: %v", err)
			}
		})
	}
}

func TestAResetComesAfterWhatWasWrittenBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := testnet.Pipe()
		defer b.Close()
		a.Write([]byte("half"))
		a.Reset()
		got, err := io.ReadAll(b)
		if string(got) != "half" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q, %v, want half and a reset", got, err)
		}
	})
}

func TestABackendRunsInsideABubble(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var pn testnet.PipeNet
		b := testnet.NewBackendAt(t, pn.Listen, "10.0.0.1:80", testnet.Late(time.Hour))
		c, err := pn.Dial(t.Context(), "10.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasSuffix(string(got), testnet.Body) || time.Since(start) != time.Hour {
			t.Errorf("%q, %v after %s", got, err, time.Since(start))
		}
		c.Close()
		b.Stop()
		if _, err := pn.Dial(t.Context(), "10.0.0.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after Stop: %v", err)
		}
		b.Restart()
		if c, err = pn.Dial(t.Context(), "10.0.0.1:80"); err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestAPipeNetRefusesWhatAKernelRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var pn testnet.PipeNet
		if _, err := pn.Dial(t.Context(), "10.0.0.1:80"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial without a listener: %v", err)
		}
		l, err := pn.Listen("tcp", "10.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pn.Listen("tcp", l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a second listener: %v", err)
		}
		var waiting []*testnet.PipeConn
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for {
			c, err := pn.Dial(ctx, l.Addr().String())
			if err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("dial to a full backlog: %v", err)
				}
				break
			}
			waiting = append(waiting, c)
		}
		l.Close()
		if len(waiting) != 128 {
			t.Errorf("%d connections waited, want 128", len(waiting))
		}
		for _, c := range waiting {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read of a connection nobody accepted: %v", err)
			}
			c.Close()
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after Close: %v", err)
		}
	})
}
