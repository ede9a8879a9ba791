package sock

import "time"

// Left says whether a peer that waits for an answer has gone away meanwhile: it
// has reset the connection, or has closed its side well after the last it sent. A
// FIN that came with that or soon after is of a peer that half-closes and reads
// on (RFC 9293, section 3.6). Where the kernel does not tell when it came, a FIN
// alone is not taken for leaving.
func Left(c Conn) bool {
	switch c.Look() {
	case Broken:
		return true
	case PeerFIN:
		info, ok := c.Info()
		return ok && info.SinceData-info.SinceACK > info.RTT+halfClose
	}
	return false
}

// halfClose is how long after its last data the FIN of a peer that half-closes may
// come: a program needs microseconds, and the kernel counts in ticks of up to 10 ms.
const halfClose = 20 * time.Millisecond
