package pool

import "time"

// holddown keeps dials back for a moment after one failed, so that a backend
// that is gone, or a machine out of ports, is asked a few times a second and
// not as fast as clients come. Guarded by the pool's lock.
type holddown struct {
	failures int           // in a row
	until    time.Duration // pool time
	last     *DialError
}

// How long to hold back, doubling from the first to the second. Remote: a
// backend that is back must serve within a second, and 250 ms leaves room for
// the dial. Local: ports and descriptors come back slowly, and each attempt
// burns CPU in the kernel's port search.
const (
	remoteHoldFirst, remoteHoldMost = 50 * time.Millisecond, 250 * time.Millisecond
	localHoldFirst, localHoldMost   = 100 * time.Millisecond, time.Second
)

// fail books a failed dial and fills in e's Failures and Hold. Dials that were
// under way together and fail together count as one.
func (h *holddown) fail(e *DialError, now time.Duration) {
	if !h.active(now) {
		h.failures++
		first, most := remoteHoldFirst, remoteHoldMost
		if e.Local {
			first, most = localHoldFirst, localHoldMost
		}
		h.until = now + min(first<<min(h.failures-1, 16), most)
	}
	e.Failures, e.Hold = h.failures, h.until-now
	h.last = e
}

// ok forgets the failures.
func (h *holddown) ok() { *h = holddown{} }

func (h *holddown) active(now time.Duration) bool { return now < h.until }

// failing is true from the first failure to the next success: hold-down may be
// over, but dials go one at a time.
func (h *holddown) failing() bool { return h.failures > 0 }

// trouble is how the last dial failed, for who reads it later; zero after one that
// did not. Guarded by the pool's lock.
type trouble struct {
	last *DialError
	at   time.Duration // pool time
}

// denied books an error that says nothing against the endpoint, or not for all: of
// one key, or of a reserved connection. It is kept only while there is no other
// connection, so that it is gone as soon as anybody is served. mu is held.
func (p *Pool) denied(e *DialError, now time.Duration) {
	if p.main.n[idle]+p.main.n[looking]+p.main.n[leased] == 0 {
		p.trouble = trouble{e, now}
	}
}

// idleLimit is what is known of how long the backend lets a connection be idle.
// A backend says it (Keep-Alive: timeout=N) or shows it, by closing idle
// connections at the same age again and again. Guarded by the pool's lock.
type idleLimit struct {
	known time.Duration // the smallest; 0 is unknown
	at    time.Duration // when it was last said, shown or eased (pool time)

	guess   time.Duration // an age at which a FIN was seen once
	guessAt time.Duration
}

const (
	// Shorter ages are a restart or a crash, not a timeout.
	shortestIdleLimit = time.Second

	// Two FINs at like ages make a timeout, but not within one second: all
	// connections that are idle when a backend restarts get theirs together.
	// The reaper sees a FIN up to a second late, hence the slack.
	finsApart = time.Second
	finSlack  = 1500 * time.Millisecond

	// Because we now close first, a limit is never confirmed by a FIN again.
	// So it is eased by a tenth every so often until it says nothing new.
	easeEvery = 10 * time.Minute
	easeMost  = time.Hour
)

// said books a limit the backend announced.
func (l *idleLimit) said(d, now time.Duration) {
	if d < shortestIdleLimit {
		return
	}
	l.ease(now)
	// A longer one replaces it only by easing: behind one address there may
	// be several servers that say different things.
	if l.known == 0 || d <= l.known {
		l.known, l.at = d, now
	}
}

// fin books that the backend's FIN was found on a connection idle for age.
func (l *idleLimit) fin(age, now time.Duration) {
	if age < shortestIdleLimit {
		return
	}
	l.ease(now)
	alike := l.guess > 0 && max(age, l.guess)-min(age, l.guess) <= max(finSlack, age/5)
	if alike && now-l.guessAt >= finsApart {
		if d := min(age, l.guess); l.known == 0 || d <= l.known {
			l.known, l.at = d, now
		}
		l.guess = 0
		return
	}
	if !alike {
		l.guess, l.guessAt = age, now
	}
}

func (l *idleLimit) ease(now time.Duration) {
	for l.known > 0 && now-l.at >= easeEvery {
		l.at += easeEvery
		if l.known += l.known / 10; l.known > easeMost {
			l.known = 0
		}
	}
}

// limit is how long we let a connection be idle on account of it: a fifth less,
// for the reaper's second and the way of the FIN. 0 is no limit.
func (l *idleLimit) limit() time.Duration { return l.known / 5 * 4 }
