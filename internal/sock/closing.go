package sock

import "time"

// Ending says in what situation a session is through with its client. It is
// the left column of the closing table; endings below is the right one.
type Ending uint8

const (
	// EndFinished: the response said itself where it ends, it is written, and
	// nothing was read before it that we did not consume. The client should
	// close now.
	EndFinished Ending = iota
	// EndOurs: the client waits for our FIN: HTTP/1.0, a body that only the
	// close delimits, or an idle client whose time is up.
	EndOurs
	// EndUnread: an answer is written, and the client may still be sending.
	EndUnread
	// EndLeft: the client's FIN was read after a complete exchange.
	EndLeft
	// EndHalfClosed: the client's FIN came before the response was written.
	// It may be waiting for the response, and it must not be reset.
	EndHalfClosed
	// EndLost: the client broke off or its socket failed.
	EndLost
	// EndSilent: the client left without having asked for anything.
	EndSilent
	// EndTruncated: the response cannot be completed, and its framing shows
	// that to the client when the connection closes.
	EndTruncated
	// EndCut: the response cannot be completed, and only a reset shows it.
	EndCut
	// EndRefused: nothing was or will be said.
	EndRefused
	endings
)

// What is done in each situation. TIME_WAIT is at whichever side sent the
// first FIN and was not reset.
type closing uint8

const (
	closeHold   closing = iota // wait for the client's FIN, then a quiet close where it is allowed
	closeNow                   // close
	closeLinger                // FIN now, read on for a bounded time, close
	closeQuiet                 // the FIN is here: a quiet close where it is allowed
	closeAbort                 // reset
)

var closings = [endings]closing{
	EndFinished:   closeHold,
	EndOurs:       closeNow,
	EndUnread:     closeLinger,
	EndLeft:       closeQuiet,
	EndHalfClosed: closeNow,
	EndLost:       closeNow,
	EndSilent:     closeNow,
	EndTruncated:  closeNow,
	EndCut:        closeAbort,
	EndRefused:    closeNow,
}

// The bounds of waiting and of reading on.
const (
	firstLook       = 2 * time.Millisecond
	lastLook        = 128 * time.Millisecond
	minWait         = 4 * time.Millisecond  // for a FIN, when 2 x rtt is less
	knownCloserWait = 60 * time.Millisecond // for a FIN of an address that always sent one
	unackedWait     = 5 * time.Second       // for what is written to be acknowledged
	lingerTime      = 5 * time.Second       // reading on after our FIN
	lingerBytes     = 8 << 20
	maxHeld         = 16384 // connections held at once; beyond it they are closed at once
)

// quietly decides, when the client's FIN is first seen, whether a reset may
// answer it. The reset frees both sides at once, but it throws away what the
// client has not acknowledged, and it takes the place of the two protections
// of TIME_WAIT: so nothing may be in flight or unsent, every byte of the
// client must have been read, and timestamps must cover old duplicates
// (RFC 6191, RFC 7323 section 5).
func quietly(i Info) bool {
	return i.State == CloseWait && i.Unacked == 0 && i.NotSent == 0 && i.Timestamps
}
