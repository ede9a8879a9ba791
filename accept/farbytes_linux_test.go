package accept

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/tcpstat"
)

func TestAcceptClientsWithoutTimestampsAreNeverReset(t *testing.T) {
	const n, size = 200, 20_000
	f := startFar(t, delayed(0), "")
	f.link.A.Sysctl("net.ipv4.tcp_timestamps", "0")
	f.each(n, 20, func(i int) {
		c, err := f.dial(netip.Addr{}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, farRequest(size, 0, true))
		got := make([]byte, 0, size+1000)
		for !farWhole(got, size) {
			n, err := c.Read(got[len(got):cap(got)])
			if got = got[:len(got)+n]; err != nil {
				t.Errorf("client %d got %d bytes, then %v", i, len(got), err)
				return
			}
		}
		c.CloseWrite() // and reads on: a reset would show
		if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
			t.Errorf("client %d: %d bytes after the response, %v", i, len(rest), err)
		}
	})
	if tr := f.link.Traffic(testnet.BtoA); tr.RST != 0 {
		t.Errorf("%d resets were sent to clients without timestamps", tr.RST)
	}
	st := f.status()
	if q := st.Listeners[0].Closed["quiet"]; q != 0 {
		t.Errorf("%d are counted as closed quietly", q)
	}
	figure(t, "%d clients without timestamps: closed %v, for want of timestamps %d", n, st.Listeners[0].Closed, st.Closing.NoTimestamps)
}

func TestAcceptSlowReadersGetEveryByte(t *testing.T) {
	f := startFar(t, delayed(0), "")
	small := func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) }
	rows := []struct {
		name    string
		size    int
		control func(fd uintptr)
		full    bool // the first read comes when the window is full
		step    int  // bytes between two short pauses
		half    bool // the FIN goes out before the first read
	}{
		{"8 MiB with pauses", 8 << 20, nil, false, 128 << 10, false},
		{"8 MiB with pauses, half-closed", 8 << 20, nil, false, 128 << 10, true},
		{"zero window", 300_000, small, true, 0, false},
		{"zero window, half-closed", 300_000, small, true, 0, true},
		{"zero window at the very end", 40_000, small, true, 0, true},
	}
	var wg sync.WaitGroup
	var resets atomic.Int64
	for _, row := range rows {
		for range 4 {
			wg.Go(func() {
				c, err := f.dial(netip.Addr{}, row.control)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				io.WriteString(c, farRequest(row.size, 0, true))
				zeroWindow := func(s *tcpstat.Socket) bool { return s.Timer == tcpstat.TimerProbe }
				if row.full && !shown(t, f.link.B, c.RemoteAddr(), c.LocalAddr(), zeroWindow) {
					t.Errorf("%s: the response does not fill the window", row.name)
				}
				if row.half {
					c.CloseWrite()
				}
				var got bytes.Buffer
				for {
					if row.step == 0 {
						_, err = io.Copy(&got, c)
						break
					}
					n, cerr := io.CopyN(&got, c, int64(row.step))
					if cerr != nil {
						if err = cerr; cerr == io.EOF && n < int64(row.step) {
							err = nil
						}
						break
					}
					testnet.Pace(nil, 5*time.Millisecond)
				}
				if row.half && errors.Is(err, syscall.ECONNRESET) {
					resets.Add(1) // its FIN crossed the response: the end is lost, no byte is
					err = nil
				}
				if err != nil || !farWhole(got.Bytes(), row.size) {
					t.Errorf("%s: %d bytes, then %v", row.name, got.Len(), err)
				}
			})
		}
	}
	wg.Wait()
	figure(t, "slow readers: %d of 12 that half-closed read a reset in place of EOF; closed %v", resets.Load(), f.status().Listeners[0].Closed)
}

func TestAcceptClientsThatResetHarmNobodyElse(t *testing.T) {
	f := startFar(t, delayed(0), "")
	stop := make(chan struct{})
	var bad, good atomic.Int64
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, err := f.dial(netip.Addr{}, nil)
				if err != nil {
					t.Errorf("a resetting client cannot connect: %v", err)
					return
				}
				size := 1 << rng.IntN(22)
				request := farRequest(size, rng.IntN(3), rng.IntN(2) == 0)
				if rng.IntN(3) == 0 {
					request = fmt.Sprintf("POST / HTTP/1.1\r\nHost: far\r\nContent-Length: %d\r\n\r\n%s", 100_000, farBytes[:rng.IntN(100_000)])
				}
				io.WriteString(c, request[:rng.IntN(len(request)+1)])
				if rng.IntN(2) == 0 {
					testnet.Pace(stop, time.Duration(rng.IntN(5))*time.Millisecond)
				}
				if rng.IntN(2) == 0 {
					c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
					io.CopyN(io.Discard, c, int64(rng.IntN(size+1)))
				}
				c.SetLinger(0)
				c.Close()
				bad.Add(1)
			}
		})
	}
	for range 8 {
		wg.Go(func() {
			c, err := f.dial(netip.Addr{}, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			br := bufio.NewReader(c)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				size := 1 + i*7919%200_000
				c.SetDeadline(time.Now().Add(60 * time.Second))
				io.WriteString(c, farRequest(size, 0, false))
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					t.Errorf("a good client's request %d: %v", i, err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, farBytes[:size]) {
					t.Errorf("a good client's request %d: status %d, %d of %d bytes, %v", i, resp.StatusCode, len(got), size, err)
					return
				}
				if err := f.farOne(1 + i%3000); err != nil {
					t.Errorf("a good short client: %v", err)
					return
				}
				good.Add(2)
			}
		})
	}
	testnet.WaitFor(t, 60*time.Second, "2,000 resets and 200 good requests", func() bool {
		return t.Failed() || bad.Load() >= 2000 && good.Load() >= 200
	})
	close(stop)
	wg.Wait()
	testnet.WaitFor(t, 60*time.Second, "every client is gone and every backend connection free", func() bool {
		st := f.status()
		return st.Listeners[0].Clients == 0 && st.Backends[0].Leased == 0 && st.Backends[0].Waiting == 0
	})
	st := f.status()
	figure(t, "%d clients reset at random points beside %d good requests without an error; closed %v, buffers %d B",
		bad.Load(), good.Load(), st.Listeners[0].Closed, st.Buffers.Bytes)
	if st.Buffers.Bytes != 0 {
		t.Errorf("%d bytes of buffers are held for nobody", st.Buffers.Bytes)
	}
}

func TestAcceptReorderedPacketsMakeNoWrongBytes(t *testing.T) {
	imp := testnet.Impairment{Delay: 2 * time.Millisecond, Reorder: 0.1, ReorderBy: 3 * time.Millisecond}
	f := startFar(t, testnet.LinkOptions{AtoB: imp, BtoA: imp, Seed: 3}, "")
	const size = 1 << 20
	f.each(16, 4, func(i int) {
		c, err := f.dial(netip.Addr{}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		up := farBytes[i<<10:][:size]
		done := make(chan error, 1)
		go func() {
			_, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: far\r\nContent-Length: %d\r\n\r\n%s", size, up)
			done <- err
		}()
		br := bufio.NewReader(c)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Error(err)
			return
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, up) {
			t.Errorf("upload %d: status %d, %d bytes came back, %v", i, resp.StatusCode, len(got), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		io.WriteString(c, farRequest(size, 0, true))
		raw, err := io.ReadAll(br)
		if err != nil || !farWhole(raw, size) {
			t.Errorf("download %d: %d bytes, %v", i, len(raw), err)
		}
	})
	figure(t, "16 uploads and 16 downloads of 1 MiB with one packet in ten reordered: every byte right; %d + %d packets",
		f.link.Traffic(testnet.AtoB).Data, f.link.Traffic(testnet.BtoA).Data)
}
