package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/oplog"
)

// pipe is what a stream writes to: it hangs while it is shut.
type pipe struct {
	mu   sync.Mutex
	got  bytes.Buffer
	shut chan struct{} // nil: open
	err  error
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	shut, err := p.shut, p.err
	p.mu.Unlock()
	if shut != nil {
		<-shut
	}
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.Write(b)
}

func (p *pipe) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.shut)
	p.shut = nil
}

func TestTheLogWaitsOnceForAReaderThatHasStoppedAndThenNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{}
		s := newStream(p)
		write := func(text string, wantErr error, want time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := s.Write([]byte(text))
			if took := time.Since(began); !errors.Is(err, wantErr) || took != want {
				t.Errorf("%q: %v after %v, want %v after %v", text, err, took, wantErr, want)
			}
		}
		write("1\n", nil, 0)
		p.shut = make(chan struct{})
		write("2\n", errStuck, streamPatience)
		for range 1000 {
			write("lost\n", errStuck, 0)
		}
		p.open()
		synctest.Wait()
		write("3\n", nil, 0)
		if got := p.got.String(); got != "1\n2\n3\n" {
			t.Errorf("written: %q", got)
		}
		p.err = errors.New("broken")
		write("4\n", p.err, 0)
		write("5\n", p.err, 0)
	})
}

func TestTheAccessLogMayWaitForTheReaderAndTheLogDoesNotWaitForThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{shut: make(chan struct{})}
		s := newStream(p)
		log := oplog.New(s, slog.LevelInfo, true)
		defer log.Close()
		block := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
		done := make(chan error, 1)
		go func() {
			n, err := newAccessLines(s).Write([]byte(block))
			if n != len(block) {
				t.Errorf("%d of %d bytes were written", n, len(block))
			}
			done <- err
		}()
		synctest.Wait()
		began := time.Now()
		for range 100 {
			log.Info("draining")
		}
		if took := time.Since(began); took != streamPatience {
			t.Errorf("100 lines of the log took %v, want %v once", took, streamPatience)
		}
		p.open()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if p.got.String() != block {
			t.Errorf("%d bytes came, of %d", p.got.Len(), len(block))
		}
	})
}

func TestLinesOfBothLogsStayWhole(t *testing.T) {
	p := &pipe{}
	s := newStream(p)
	var wg sync.WaitGroup
	const each = 400
	for range 2 {
		wg.Go(func() {
			for n := range each {
				s.Write(fmt.Appendf(nil, "log %d end\n", n))
			}
		})
	}
	long := strings.Repeat("y", 3*accessBlock)
	wg.Go(func() {
		access := newAccessLines(s)
		for n := range each {
			var b bytes.Buffer
			for i := range 40 {
				fmt.Fprintf(&b, "access %d %d %s end\n", n, i, strings.Repeat("x", 200))
			}
			fmt.Fprintf(&b, "access %d %s end\n", n, long)
			if _, err := access.Write(b.Bytes()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	lines := 0
	for line := range strings.Lines(p.got.String()) {
		if strings.Count(line, "end") != 1 || strings.Count(line, "log")+strings.Count(line, "access") != 1 {
			t.Fatalf("a line is %.80q", line)
		}
		lines++
	}
	if want := 2*each + 41*each; lines != want {
		t.Errorf("%d lines, want %d", lines, want)
	}
}

func TestACloseEndsAWriteOfTheAccessLogAndWhatItHasBegunComesOutLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{shut: make(chan struct{})}
		s := newStream(p)
		line := strings.Repeat("x", accessBlock-1) + "\n"
		a, b := newAccessLines(s), newAccessLines(s)
		var wg sync.WaitGroup
		for _, l := range []*accessLines{a, b} { // one stands in the write, the other waits for its turn
			wg.Go(func() {
				if n, err := l.Write([]byte(line + line)); n != 0 || !errors.Is(err, os.ErrClosed) {
					t.Errorf("%d bytes, %v", n, err)
				}
			})
		}
		synctest.Wait()
		a.Close()
		b.Close()
		wg.Wait()
		p.open()
		synctest.Wait()
		if got := p.got.String(); got != line {
			t.Errorf("%d bytes came out, want the %d that had been begun", len(got), len(line))
		}
		if _, err := s.Write([]byte("log\n")); err != nil {
			t.Errorf("weir's own log: %v", err)
		}
	})
}

func TestTwoStreamsThatLeadToOneFileAreOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "both")
	open := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	if out, err := newStreams(open(path), open(path)); out != err {
		t.Error("one file has two streams")
	}
	if out, err := newStreams(open(path), open(path+"2")); out == err {
		t.Error("two files have one stream")
	}
	if out, err := newStreams(&bytes.Buffer{}, &bytes.Buffer{}); out == err {
		t.Error("what is no file was taken for one")
	}
}
