//go:build linux && !race

package limiter

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// What the documents say of per_keys: 16 bytes each, 16 MiB for the default of
// 1048576, however many clients there are. Here a quarter more come, by their
// addresses, and all of them count still. The race detector would make it ten
// times as long, and finds nothing here that it does not find elsewhere.
func TestAMillionClientsFitInTheMemoryThatIsStated(t *testing.T) {
	const (
		keys    = 1 << 20
		clients = keys + keys/4
		stated  = 16<<20 + keys/8 // and a hundredth for locks and counts
		noise   = 2 << 20         // of all else that is resident
	)
	inUse := func() int64 {
		debug.FreeOSMemory()
		debug.FreeOSMemory() // the second one frees what the first one only unhooked
		_, resident, _ := memory(t)
		return resident
	}
	client := func(i uint32) Key {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24+i)
		return KeyOfAddr(netip.AddrFrom4(a), 32, 64)
	}
	before := inUse()
	all := ratesOf(t, limitOf(t, 1, time.Hour, 2), keys)
	made := inUse() - before
	refused := 0
	for i := range uint32(clients) {
		if _, ok := all.Take(client(i), 0); !ok {
			refused++
		}
	}
	used := inUse() - before
	st := all.Stats(0)
	t.Logf("%d clients: %d bytes in use, %d of them from the start; %+v", clients, used, made, st)
	if made > noise || used > stated+noise || all.Bytes() > stated {
		t.Errorf("%d bytes in use, %d of them from the start, and %d by its own account; %d are stated", used, made, all.Bytes(), stated)
	}
	if st.Capacity < keys || st.Keys < keys*95/100 {
		t.Errorf("%+v: want places for %d keys, and nearly all of them taken", st, keys)
	}
	if refused > 0 {
		t.Errorf("%d clients were refused their first request", refused)
	}
	runtime.KeepAlive(all)
}
