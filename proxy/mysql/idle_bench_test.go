package mysql_test

import (
	"runtime"
	"syscall"
	"testing"

	"weir/internal/testnet"
)

// BenchmarkIdleSessions notes what clients cost that are logged in and hold no
// backend connection, both ends of their sockets in this process left out of
// Go's memory.
func BenchmarkIdleSessions(b *testing.B) {
	n := 10_000
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) == nil {
		n = min(n, int(lim.Cur)/2-500)
	}
	f := newFake(b, echo)
	r := newRig(b, rigOptions{backend: f.address()})
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		all := make([]*client, n)
		before := memory()
		for i := range all {
			all[i] = r.login(loginAs{database: "app"})
			all[i].br = nil
		}
		testnet.WaitFor(b, testWait, "all are parked", func() bool { return r.l.Stats().Parked == int64(n) })
		b.ReportMetric(float64(memory()-before)/float64(n), "B/session+client")
		for _, c := range all {
			c.gone()
		}
		testnet.WaitFor(b, testWait, "all are gone", func() bool { return r.l.Stats().Open == 0 })
	}
}
