package sock

// How says how a connection ended on our side. The words become labels.
type How uint8

const (
	HowQuiet      How = iota // the peer closed first and a reset ended both sides: no TIME_WAIT
	HowPeerFirst             // the peer closed first and we answered with a FIN: TIME_WAIT is the peer's
	HowActive                // we sent the first FIN: TIME_WAIT is ours
	HowLinger                // we sent the first FIN and read on until the peer's, or for a bounded time
	HowAbort                 // we reset the connection: no TIME_WAIT, what was in flight is lost
	HowReset                 // the peer reset it
	HowHalfClosed            // the peer closed its half before we had answered, read on, and was answered; else as HowPeerFirst
	hows
)

var howNames = [hows]string{"quiet", "peer_first", "active", "linger", "abort", "reset", "half_closed"}

func (h How) String() string { return howNames[h] }

// Hows returns every How, in order, for those who make labels of them.
func Hows() []How {
	out := make([]How, hows)
	for i := range out {
		out[i] = How(i)
	}
	return out
}

// EndBackend ends a backend connection that carries nothing we still want, and
// says how. Where the backend closed first its FIN is answered with ours and
// TIME_WAIT stays with it. Where we are first, a reset leaves none on either
// side; nothing can be lost by it, because the last exchange was read to its
// end or has been given up.
func EndBackend(c Conn) How {
	switch c.Look() {
	case PeerFIN:
		// The kernel tells of a reset once. If somebody has looked before, it
		// looks like a FIN from then on, and only the state tells them apart.
		i, ok := c.Info()
		c.Close()
		if ok && i.State == Closed {
			return HowReset
		}
		return HowPeerFirst
	case Broken:
		c.Close()
		return HowReset
	default:
		c.Abort()
		return HowAbort
	}
}

// EndAnswered ends a backend connection whose peer was told goodbye and had time
// to close. Where it has, a reset answers its FIN, so that it keeps no
// TIME_WAIT either; where it has not, the close is plain, because a reset
// might overtake the goodbye.
func EndAnswered(c Conn) How {
	if c.Look() == PeerFIN {
		if i, ok := c.Info(); ok && quietly(i) {
			c.Abort()
			return HowQuiet
		}
		return EndBackend(c)
	}
	c.Close()
	return HowActive
}
