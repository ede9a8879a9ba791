package tcpstat

import "bytes"

// Totals are the kernel's own counts of a network namespace. What a kernel does
// not count stays zero.
type Totals struct {
	// /proc/net/sockstat and sockstat6.
	InUse    int // TCP sockets but for TIME-WAIT, both families
	Orphans  int // closed by their process, not yet by the peer; of the host
	TimeWait int // TIME-WAIT, and FIN-WAIT-2 in the same short form
	Pages    int // of memory; of the host

	// /proc/net/snmp, since the namespace began.
	AttemptFails, EstabResets uint64

	// /proc/net/netstat, since the namespace began.
	TimeWaitRecycled, TimeWaitOverflow           uint64
	ListenOverflows, ListenDrops, SyncookiesSent uint64
}

// Sockstat finds a number in /proc/net/sockstat or sockstat6 (net/ipv4/proc.c,
// sockstat_seq_show): lines of a protocol, as TCP or TCP6, and pairs of a word and
// a number, as inuse or tw. It is false if there is none, or none that an int of
// C can have.
func Sockstat(text []byte, protocol, word string) (int, bool) {
	for line := range bytes.Lines(text) {
		f := fields{bytes.TrimRight(line, "\n")}
		if string(f.next(':')) != protocol {
			continue
		}
		for {
			w, number := f.next(' '), f.next(' ')
			if len(w) == 0 {
				break
			}
			if v, ok := decimal(number); string(w) == word && ok && v <= 1<<31-1 {
				return int(v), true
			}
		}
	}
	return 0, false
}

// parseSockstat reads sockstat or sockstat6, and adds to what the other had.
func (t *Totals) parseSockstat(text []byte) {
	for _, n := range [...]struct {
		protocol, word string
		to             *int
	}{
		{"TCP", "inuse", &t.InUse}, {"TCP6", "inuse", &t.InUse},
		{"TCP", "orphan", &t.Orphans}, {"TCP", "tw", &t.TimeWait}, {"TCP", "mem", &t.Pages},
	} {
		v, _ := Sockstat(text, n.protocol, n.word)
		*n.to = min(*n.to+v, 1<<31-1)
	}
}

// parseSNMP reads /proc/net/snmp or netstat (net/ipv4/proc.c): pairs of lines
// that begin with the same word, the first with names and the second with
// numbers.
func (t *Totals) parseSNMP(text []byte) {
	var names fields
	var of []byte
	for line := range bytes.Lines(text) {
		f := fields{bytes.TrimRight(line, "\n")}
		group := f.next(':')
		if of == nil || !bytes.Equal(of, group) {
			of, names = group, f
			continue
		}
		for {
			name, value := names.next(' '), f.next(' ')
			if len(name) == 0 || len(value) == 0 {
				break
			}
			if v, ok := decimal(value); ok { // some may be negative: none of ours
				t.set(string(of), string(name), v)
			}
		}
		of = nil
	}
}

func (t *Totals) set(group, name string, v uint64) {
	switch group {
	case "Tcp":
		switch name {
		case "AttemptFails":
			t.AttemptFails = v
		case "EstabResets":
			t.EstabResets = v
		}
	case "TcpExt":
		switch name {
		case "TWRecycled":
			t.TimeWaitRecycled = v
		case "TCPTimeWaitOverflow":
			t.TimeWaitOverflow = v
		case "ListenOverflows":
			t.ListenOverflows = v
		case "ListenDrops":
			t.ListenDrops = v
		case "SyncookiesSent":
			t.SyncookiesSent = v
		}
	}
}
