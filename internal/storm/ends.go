package storm

import (
	"net/netip"

	"weir/tcpstat"
)

// Ends are the sockets of a target's connections at both ends. The server's are
// seen only when it is on this machine and in this network namespace.
type Ends struct {
	Client tcpstat.Counts // sockets whose remote end is the target
	Server tcpstat.Counts // sockets whose local end is the target, listeners left out
}

// counter counts Ends.
type counter struct {
	r              *tcpstat.Reader
	t              tcpstat.Tally
	client, server int
}

func openCounter(a netip.AddrPort) (*counter, error) {
	r, err := tcpstat.Open()
	if err != nil {
		return nil, err
	}
	c := &counter{r: r}
	c.client = c.t.Watch(tcpstat.Remote, a)
	c.server = c.t.Watch(tcpstat.Local, a)
	return c, nil
}

func (c *counter) close() { c.r.Close() }

func (c *counter) now() (e Ends, err error) {
	err = c.r.Count(tcpstat.Filter{States: tcpstat.All &^ tcpstat.MaskOf(tcpstat.Listen)}, &c.t)
	return Ends{Client: c.t.Counts(c.client), Server: c.t.Counts(c.server)}, err
}

// Count counts the sockets of an address's connections now.
func Count(a netip.AddrPort) (Ends, error) {
	c, err := openCounter(a)
	if err != nil {
		return Ends{}, err
	}
	defer c.close()
	return c.now()
}
