//go:build bench

package bench

import (
	"fmt"
	"net/netip"

	"weir/internal/testnet"
)

// overloadMySQLKinds are those compared, in the order of the table. weir has as
// many connections as the server has threads, and its clients share them.
var overloadMySQLKinds = []overloadKind{
	{"direct", "", nil},
	{"weir", "defaults", overloadMySQLWeir(workers, "always", "")},
	{"weir", "queue.timeout 50ms", overloadMySQLWeir(workers, "always", `queue: {max: 64, timeout: 50ms}`)},
	{"weir", "queue.target 5ms", overloadMySQLWeir(workers, "always", `queue: {target: 5ms}`)},
	{"weir", "queue.target 5ms, queue.max 12", overloadMySQLWeir(workers, "always", `queue: {target: 5ms, max: 12}`)},
	{"weir", "queue.target 5ms, reset proven", overloadMySQLWeir(workers, "proven", `queue: {target: 5ms}`)},
	{"weir", "queue.target 5ms, max_open 12", overloadMySQLWeir(workers+2, "always", `queue: {target: 5ms}`)},
}

// overloadMySQLWeir returns a start function for a number of connections, a way to reset
// them, and further keys of the backend.
func overloadMySQLWeir(maxOpen int, reset, keys string) func(*lab, netip.AddrPort) (overloadProxy, error) {
	return func(l *lab, backend netip.AddrPort) (overloadProxy, error) {
		listener := l.free()
		return runWeir(l, listener, fmt.Sprintf(`
listeners:
  - {name: db, protocol: mysql, address: "%s", backend: mariadb}
backends:
  - name: mariadb
    endpoints: ["%s"]
    users: [{name: %s, password: %s}]
    mysql: {mode: transaction, reset: %s}
    pool: {max_open: %d}
    %s
`, listener, backend, testnet.UserApp, testnet.MariaDBPassword, reset, maxOpen, keys))
	}
}
