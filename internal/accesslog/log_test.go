package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// place is where lines go in tests: a disk that can be full and can hang.
type place struct {
	mu     sync.Mutex
	got    bytes.Buffer
	room   int // bytes it takes before it is full; negative: no end
	writes int
	closed bool
	hang   chan struct{} // not nil: a write waits for it
	cut    int           // not 0: Close ends a write that hangs, which has got so far, as with a pipe
	slow   chan struct{} // not nil: Close waits for it
}

func newPlace() *place { return &place{room: -1} }

func (p *place) Write(b []byte) (int, error) {
	p.mu.Lock()
	hang := p.hang
	p.mu.Unlock()
	if hang != nil {
		<-hang
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if p.closed && hang != nil && p.cut > 0 {
		n, _ := p.got.Write(b[:p.cut])
		return n, os.ErrClosed
	}
	if p.closed && hang == nil {
		return 0, errors.New("written to after its end")
	}
	if p.room >= 0 && len(b) > p.room {
		n := p.room
		p.got.Write(b[:n])
		p.room = 0
		return n, syscall.ENOSPC
	}
	if p.room >= 0 {
		p.room -= len(b)
	}
	return p.got.Write(b)
}

func (p *place) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("closed twice")
	}
	p.closed = true
	if p.hang != nil && p.cut > 0 {
		close(p.hang)
	}
	if p.slow != nil {
		p.mu.Unlock()
		<-p.slow
		p.mu.Lock()
	}
	return nil
}

func (p *place) setRoom(n int) { p.mu.Lock(); p.room = n; p.mu.Unlock() }

func (p *place) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got.String()
}

func (p *place) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// journal counts what was logged, by message.
type journal struct {
	slog.Handler
	mu   sync.Mutex
	seen map[string]int
}

func newJournal() *journal {
	return &journal{Handler: slog.DiscardHandler, seen: map[string]int{}}
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	word, _, _ := strings.Cut(r.Message, ";")
	j.seen[word]++
	return nil
}

func (j *journal) count(message string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen[message]
}

const (
	cannotWrite = "access log cannot be written"
	writesAgain = "access log is written again"
	tooSlow     = "access log could not keep up"
)

// rig is a Log in a bubble.
type rig struct {
	*Log
	t *testing.T
	j *journal
}

func bubble(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		r := &rig{New(slog.New(j)), t, j}
		f(r)
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// after lets time pass and the writer act.
func after(d time.Duration) {
	<-time.After(d) // the bubble's time
	synctest.Wait()
}

func (r *rig) want(written, dropped int) {
	r.t.Helper()
	if s := r.Stats(); s.Written != uint64(written) || s.Dropped != uint64(dropped) {
		r.t.Errorf("%d lines written and %d dropped, want %d and %d", s.Written, s.Dropped, written, dropped)
	}
}

// numbered is a line of size bytes.
func numbered(n, size int) []byte {
	head := fmt.Sprintf("%d ", n)
	return []byte(head + strings.Repeat("x", size-len(head)-1) + "\n")
}

// wantNumbers wants whole lines with these numbers, in order.
func wantNumbers(t *testing.T, text string, from, to int) {
	t.Helper()
	n := from
	for line := range strings.Lines(text) {
		var got int
		if _, err := fmt.Sscan(line, &got); err != nil || got != n || !strings.HasSuffix(line, "x\n") {
			t.Fatalf("line %d is %.20q...", n, line)
		}
		n++
	}
	if n != to {
		t.Errorf("lines %d to %d are there, want them up to %d", from, n, to)
	}
}

func TestALineIsWrittenSoonAndManyWithOneWrite(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		r.Use(p)
		synctest.Wait()
		for n := range 100 {
			r.Write(numbered(n, 50))
		}
		after(writeEvery - time.Millisecond)
		if p.text() != "" {
			t.Error("lines were written before others could come")
		}
		after(time.Millisecond)
		wantNumbers(t, p.text(), 0, 100)
		if p.writes != 1 {
			t.Errorf("%d writes for 100 lines", p.writes)
		}
		after(time.Hour)
		r.Write(numbered(100, 50))
		after(writeEvery)
		wantNumbers(t, p.text(), 0, 101)
		r.want(101, 0)
		if p.writes != 2 {
			t.Errorf("%d writes: an idle log writes nothing", p.writes)
		}
	})
}

func TestAHalfFullBufferIsWrittenAtOnce(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		r.Use(p)
		synctest.Wait()
		const size = 1 << 10
		for n := range half / 2 / size {
			r.Write(numbered(n, size))
		}
		synctest.Wait() // no time passes
		wantNumbers(t, p.text(), 0, half/2/size)
	})
}

func TestLinesThatFindNoRoomAreDroppedAndCounted(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		p.hang = make(chan struct{})
		r.Use(p)
		synctest.Wait()
		r.Write(numbered(0, 64))
		after(writeEvery) // it hangs in Write
		const size = 1 << 10
		for n := range 2 * half / size {
			r.Write(numbered(n+1, size))
		}
		r.want(0, half/size)
		close(p.hang)
		after(writeEvery)
		r.want(1+half/size, half/size)
		wantNumbers(t, p.text(), 0, 1+half/size)
		if r.j.count(tooSlow) != 1 {
			t.Errorf("the log was told %v", r.j.seen)
		}
	})
}

func TestNobodyWaitsForAWriteThatHangs(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		p.hang = make(chan struct{})
		r.Use(p)
		synctest.Wait()
		r.Write(numbered(0, 64))
		after(writeEvery)
		began := time.Now()
		r.Write(numbered(1, 64))
		r.Stats()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(began))
		}
		close(p.hang)
		synctest.Wait()
		wantNumbers(t, p.text(), 0, 2)
		if !p.isClosed() {
			t.Error("the place was left open")
		}
	})
}

func TestAFullDiskIsWaitedForAndNoLineIsTorn(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		p.room = 150 // a line and a half
		r.Use(p)
		synctest.Wait()
		for n := range 10 {
			r.Write(numbered(n, 100))
		}
		after(writeEvery)
		r.want(1, 0)
		if err := r.Stats().Err; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("the state says %v", err)
		}
		after(10 * retryEvery)
		if n := r.j.count(cannotWrite); n != 11 { // oplog makes one line of them
			t.Errorf("told %d times of 11 failed writes: %v", n, r.j.seen)
		}
		for n := range 2 * half / 100 {
			r.Write(numbered(10+n, 100))
		}
		fit := half / 100 // beside the ten that wait to be written
		dropped := 2*half/100 - fit
		r.want(1, dropped)
		p.setRoom(-1)
		after(retryEvery)
		wantNumbers(t, p.text(), 0, 10+fit)
		r.want(10+fit, dropped)
		if r.j.count(writesAgain) != 1 || r.Stats().Err != nil {
			t.Errorf("after it: %v, %v", r.j.seen, r.Stats().Err)
		}
	})
}

func TestANewFileGetsAllThatIsNotWrittenAndTheOldOneNoMore(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := newPlace(), newPlace()
		r.Use(a)
		r.Write(numbered(0, 100))
		after(writeEvery)
		r.Write(numbered(1, 100))
		r.Use(b)
		synctest.Wait() // at once
		if !a.isClosed() {
			t.Error("the old file is open")
		}
		wantNumbers(t, a.text(), 0, 1)
		wantNumbers(t, b.text(), 1, 2)
		// One that was never used is closed too.
		c, d := newPlace(), newPlace()
		r.Use(c)
		r.Use(d)
		synctest.Wait()
		if !b.isClosed() || !c.isClosed() || d.isClosed() {
			t.Errorf("closed: %v %v %v", b.isClosed(), c.isClosed(), d.isClosed())
		}
		r.want(2, 0)
	})
}

func TestALineThatBrokeOffIsWholeInTheNewFile(t *testing.T) {
	bubble(t, func(r *rig) {
		a, b := newPlace(), newPlace()
		a.room = 250
		r.Use(a)
		synctest.Wait()
		for n := range 4 {
			r.Write(numbered(n, 100))
		}
		after(writeEvery)
		r.Use(b)
		synctest.Wait()
		wantNumbers(t, b.text(), 2, 4)
		r.want(4, 0)
	})
}

func TestTurnedOffItWritesWhatIsThereAndTakesNoMore(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		r.Write(numbered(7, 100)) // before there is a place
		r.Use(p)
		r.Write(numbered(0, 100))
		r.Use(nil)
		r.Write(numbered(1, 100))
		synctest.Wait()
		wantNumbers(t, p.text(), 0, 1)
		if !p.isClosed() || r.fill != nil || r.out != nil {
			t.Errorf("off: closed %v, and %d bytes are held", p.isClosed(), cap(r.fill)+cap(r.out))
		}
		after(time.Hour)
		q := newPlace()
		r.Use(q)
		r.Write(numbered(1, 100))
		after(writeEvery)
		wantNumbers(t, q.text(), 1, 2)
		r.want(2, 0)
	})
}

func TestCloseWritesTheLastLinesAndDropsWhatCannotBeWritten(t *testing.T) {
	bubble(t, func(r *rig) {
		p := newPlace()
		r.Use(p)
		r.Write(numbered(0, 100))
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		wantNumbers(t, p.text(), 0, 1)
		r.Write(numbered(1, 100))
		late := newPlace()
		r.Use(late)
		if !p.isClosed() || !late.isClosed() {
			t.Error("a place was left open")
		}
		r.want(1, 0)
	})
	bubble(t, func(r *rig) {
		p := newPlace()
		p.room = 150
		r.Use(p)
		synctest.Wait()
		for n := range 5 {
			r.Write(numbered(n, 100))
		}
		began := time.Now()
		r.Close(context.Background())
		if took := time.Since(began); took != 0 {
			t.Errorf("a full disk held the end up for %v", took)
		}
		r.want(1, 4)
	})
}

func TestANilLogHasNoState(t *testing.T) {
	if s := (*Log)(nil).Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
}

// Many sessions, a place that fails and one that is changed all the time: each
// line is in one place once, or counted as dropped.
func TestEveryLineIsWrittenOnceOrCounted(t *testing.T) {
	l := New(slog.New(slog.DiscardHandler))
	const workers, each = 8, 3000
	var places []*place
	use := func() {
		p := newPlace()
		if len(places)%3 == 1 {
			p.room = 100_050 // and then it is full in the middle of a line
		}
		places = append(places, p)
		l.Use(p)
	}
	use()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for n := range each {
				l.Write(fmt.Appendf(nil, "%d/%d %s\n", w, n, strings.Repeat("x", 200)))
			}
		})
	}
	for range 50 {
		use()
	}
	wg.Wait()
	use()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, p := range places {
		if !p.isClosed() {
			t.Error("a place was left open")
		}
		for line := range strings.Lines(p.text()) {
			if strings.HasSuffix(line, "x\n") && len(line) > 200 {
				seen[line]++
			}
		}
	}
	s := l.Stats()
	for line, n := range seen {
		if n > 1 {
			t.Errorf("%.12q is there %d times", line, n)
		}
	}
	if len(seen) != int(s.Written) || s.Written+s.Dropped != workers*each {
		t.Errorf("%d lines are there, %d written and %d dropped of %d", len(seen), s.Written, s.Dropped, workers*each)
	}
}
