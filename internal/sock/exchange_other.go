//go:build !linux

package sock

const (
	onePark    = false
	maxOnePark = 0
)

// exchange exists on Linux only; elsewhere a write and a read do its work.
type exchange struct{}

func (x *exchange) init() {}

func (x *exchange) run(c *plainConn, req, resp []byte) (wrote, read int, err error) {
	panic("BUG: one-park exchange on a system without it")
}
