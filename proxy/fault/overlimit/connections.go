package overlimit

import (
	"math"
	"time"

	"weir/internal/sock"
	"weir/limiter"
	"weir/proxy/fault"
)

// Connections bounds what one client of a listener does with connections. Clients
// without an address, those of unix sockets, are not counted.
type Connections struct {
	All       *limiter.Counts // of all listeners of the process: an address may move from one to another
	Listener  limiter.Key     // tells them apart in All
	PerClient int             // 0: no bound
	Rate      *limiter.Rates  // nil: no bound
	By        limiter.KeyBy
}

// Enter counts a new connection, or says why it is not let in, and after how long
// one may be. It sets c's tag.
func (x *Connections) Enter(c sock.Conn) (k fault.Kind, wait time.Duration) {
	peer := c.RemoteAddr().Addr()
	if x.All == nil || !peer.IsValid() {
		return fault.None, 0
	}
	key := limiter.KeyOfAddr(peer, x.By.IPv4, x.By.IPv6) ^ x.Listener
	if key == 0 { // which is no tag
		key = 1
	}
	if x.Rate != nil {
		if wait, ok := x.Rate.Take(key, limiter.Nanos(time.Now())); !ok {
			return fault.ConnectionRate, wait
		}
	}
	most := x.PerClient
	if most == 0 {
		if x.Rate == nil {
			return fault.None, 0
		}
		most = math.MaxInt // counted for a reload that sets a bound
	}
	if !x.All.Enter(key, most) {
		return fault.ClientConnections, 0
	}
	c.SetTag(uint64(key))
	return fault.None, 0
}

// Leave is for a connection that has ended, whether it was counted or not. It
// must come before c is given away.
func (x *Connections) Leave(c sock.Conn) {
	if key := c.Tag(); key != 0 {
		c.SetTag(0)
		x.All.Leave(limiter.Key(key))
	}
}
