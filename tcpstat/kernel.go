package tcpstat

import "bytes"

// Totals are the kernel's own counts of a network namespace. What a kernel does
// not count stays zero.
type Totals struct {
	// /proc/net/sockstat and sockstat6.
	InUse    int // TCP sockets but for TIME-WAIT, both families
	Orphans  int // closed by their process, not yet by the peer; of the host
	TimeWait int // TIME-WAIT, and FIN-WAIT-2 in the same short form
	Alloc    int // of the host
	Pages    int // of memory; of the host

	// /proc/net/snmp, since the namespace began.
	ActiveOpens, PassiveOpens, AttemptFails, EstabResets, RetransSegs, OutRsts uint64
	CurrEstab                                                                  int // ESTABLISHED and CLOSE-WAIT

	// /proc/net/netstat, since the namespace began.
	TimeWaits, TimeWaitRecycled, TimeWaitKilled, TimeWaitOverflow uint64
	ListenOverflows, ListenDrops, SyncookiesSent                  uint64
	ReqQFullDrop, ReqQFullDoCookies                               uint64
	AbortOnData, AbortOnClose                                     uint64
}

// parseSockstat reads /proc/net/sockstat or sockstat6 (net/ipv4/proc.c,
// sockstat_seq_show): lines of a protocol and pairs of a word and a number.
func (t *Totals) parseSockstat(text []byte) {
	for line := range bytes.Lines(text) {
		f := fields{bytes.TrimRight(line, "\n")}
		proto := string(f.next(':'))
		if proto != "TCP" && proto != "TCP6" {
			continue
		}
		for {
			word := f.next(' ')
			if len(word) == 0 {
				break
			}
			v, ok := decimal(f.next(' '))
			if !ok || v > 1<<31-1 {
				continue
			}
			switch n := int(v); string(word) {
			case "inuse":
				t.InUse = min(t.InUse+n, 1<<31-1)
			case "orphan":
				t.Orphans = n
			case "tw":
				t.TimeWait = n
			case "alloc":
				t.Alloc = n
			case "mem":
				t.Pages = n
			}
		}
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
		case "ActiveOpens":
			t.ActiveOpens = v
		case "PassiveOpens":
			t.PassiveOpens = v
		case "AttemptFails":
			t.AttemptFails = v
		case "EstabResets":
			t.EstabResets = v
		case "RetransSegs":
			t.RetransSegs = v
		case "OutRsts":
			t.OutRsts = v
		case "CurrEstab":
			t.CurrEstab = int(min(v, 1<<31-1))
		}
	case "TcpExt":
		switch name {
		case "TW":
			t.TimeWaits = v
		case "TWRecycled":
			t.TimeWaitRecycled = v
		case "TWKilled":
			t.TimeWaitKilled = v
		case "TCPTimeWaitOverflow":
			t.TimeWaitOverflow = v
		case "ListenOverflows":
			t.ListenOverflows = v
		case "ListenDrops":
			t.ListenDrops = v
		case "SyncookiesSent":
			t.SyncookiesSent = v
		case "TCPReqQFullDrop":
			t.ReqQFullDrop = v
		case "TCPReqQFullDoCookies":
			t.ReqQFullDoCookies = v
		case "TCPAbortOnData":
			t.AbortOnData = v
		case "TCPAbortOnClose":
			t.AbortOnClose = v
		}
	}
}
