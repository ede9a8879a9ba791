package limiter

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is a line whose waiters tell what became of them.
type crowd struct {
	*line
	t    *testing.T
	told chan fate

	served, shed []string // heard of, and not asked for yet
}

type fate struct {
	name string
	err  error
}

func newCrowd(t *testing.T, max int, patience time.Duration) *crowd {
	return &crowd{line: newLine(max, patience), t: t, told: make(chan fate, 10_000)}
}

// comes has one join, who waits in the background unless it is refused.
func (c *crowd) comes(name string, class Class) error {
	c.Lock()
	w, err := c.Join(c.t.Context(), name, class, time.Now(), 0)
	c.Unlock()
	if err == nil {
		go func() {
			_, err := c.Await(w)
			c.told <- fate{name, err}
		}()
	}
	synctest.Wait()
	return err
}

// hear sorts what was told by now.
func (c *crowd) hear() {
	c.t.Helper()
	for synctest.Wait(); len(c.told) > 0; {
		switch f := <-c.told; {
		case f.err == nil:
			c.served = append(c.served, f.name)
		case errors.Is(f.err, ErrShed):
			c.shed = append(c.shed, f.name)
		case !errors.Is(f.err, errEnd):
			c.t.Errorf("%s: %v", f.name, f.err)
		}
	}
}

// gives serves one, and returns who it was.
func (c *crowd) gives() (name string) {
	c.t.Helper()
	c.serve(7)
	if c.hear(); len(c.served) > 0 {
		name, c.served = c.served[0], nil
	}
	return name
}

// shedNow are the names of those who got ErrShed since it was last asked.
func (c *crowd) shedNow() (names []string) {
	c.t.Helper()
	c.hear()
	names, c.shed = c.shed, nil
	slices.Sort(names)
	return names
}

var errEnd = errors.New("the end")

// leave ends all waits.
func (c *crowd) leave() {
	c.Lock()
	c.FailAll(errEnd)
	c.Unlock()
}

func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTheMoreImportantComeFirstAndOfAClassTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 10, time.Minute)
		for _, w := range []struct {
			name  string
			class Class
		}{{"5a", 5}, {"3a", 0}, {"1a", 1}, {"6a", 200}, {"3b", 3}, {"1b", 1}, {"4a", 4}, {"2a", 2}} {
			if err := c.comes(w.name, w.class); err != nil {
				t.Fatal(err)
			}
		}
		var walk, got []string
		c.Lock()
		for w := c.First(); w != nil; w = c.Next(w) {
			walk = append(walk, w.Want)
		}
		c.Unlock()
		for range 8 {
			got = append(got, c.gives())
		}
		want := []string{"1a", "1b", "2a", "3a", "3b", "4a", "5a", "6a"}
		if !slices.Equal(got, want) || !slices.Equal(walk, want) {
			t.Errorf("served %v, walked %v", got, walk)
		}
	})
}

func TestAFullQueueShedsItsLastForOneWhoIsMoreImportantThanIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 4, time.Minute)
		for _, name := range []string{"3a", "5a", "5b", "4a"} {
			c.comes(name, Class(name[0]-'0'))
		}
		for _, x := range []struct {
			class Class
			shed  string // "" is refused
		}{{5, ""}, {4, "5b"}, {2, "5a"}, {1, "4"}, {4, ""}, {3, "4a"}, {3, ""}, {2, "3"}, {2, "3a"}, {2, ""}, {3, ""}, {0, ""}, {1, "2"}} {
			err := c.comes(string('0'+rune(x.class)), x.class)
			if refused := errors.Is(err, ErrQueueFull); refused != (x.shed == "") || err != nil && !refused {
				t.Fatalf("class %d: %v", x.class, err)
			}
			if got := c.shedNow(); x.shed == "" && len(got) > 0 || x.shed != "" && !slices.Equal(got, []string{x.shed}) {
				t.Fatalf("class %d: shed %q, want %q", x.class, got, x.shed)
			}
		}
		if c.Len() != 4 {
			t.Errorf("%d wait", c.Len())
		}
		c.leave()
	})
}

func TestWithoutAPlaceTheMoreImportantIsRefusedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 0, time.Minute)
		if err := c.comes("", 1); !errors.Is(err, ErrQueueFull) {
			t.Errorf("got %v", err)
		}
	})
}

func TestEachTimesOutAtItsOwnDeadlineWhateverItsClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 10, time.Second)
		c.comes("first", 5)
		after(300 * time.Millisecond)
		c.comes("second", 1)
		after(300 * time.Millisecond)
		c.comes("third", 3)
		for _, x := range []struct {
			name string
			left time.Duration
		}{{"first", 400}, {"second", 300}, {"third", 300}} {
			after(x.left*time.Millisecond - 1)
			if len(c.told) > 0 {
				t.Fatalf("%s is too early", (<-c.told).name)
			}
			after(1)
			if f := <-c.told; f.name != x.name || !errors.Is(f.err, ErrQueueTimeout) {
				t.Errorf("%s: %v, not %s", f.name, f.err, x.name)
			}
		}
	})
}
