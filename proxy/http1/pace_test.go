package http1

import (
	"testing"
	"time"
)

// Sessions are used again: what one client was waited for is not the next one's.
func TestEachAnswerHasAPaceOfItsOwn(t *testing.T) {
	var a answer
	a.pace = pace{waited: 4 * time.Second, bytes: 1}
	a.reset()
	if a.pace != (pace{}) {
		t.Errorf("it begins with %+v", a.pace)
	}
}

// What a write takes at once goes into the socket's buffer, and says nothing of the
// client.
func TestFillingABufferIsNoPace(t *testing.T) {
	var p pace
	for range 200 {
		p.slow(16<<10, 3*time.Microsecond, nil)
	}
	if p != (pace{}) {
		t.Errorf("without a wait it is %+v", p)
	}
	p.slow(0, time.Second, nil)
	p.slow(1000, 3*time.Microsecond, nil)
	if want := (pace{time.Second, 1000}); p != want {
		t.Errorf("after a wait it is %+v, want %+v", p, want)
	}
}
