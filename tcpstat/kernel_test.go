package tcpstat

import (
	"strings"
	"testing"
)

const (
	sockstatText = "sockets: used 280\nTCP: inuse 262 orphan 13 tw 24436 alloc 275 mem 122\nUDP: inuse 0 mem 0\nFRAG: inuse 0 memory 0\n"
	sockstat6    = "TCP6: inuse 8\nUDP6: inuse 1\n"
	snmpText     = "Ip: Forwarding DefaultTTL\nIp: 1 64\n" +
		"Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n" +
		"Tcp: 1 200 120000 -1 44581184 43044022 1536771 31458124 256 791258431 791158019 268905 8061 31785194 0\n"
	netstatText = "TcpExt: SyncookiesSent TW TWRecycled TWKilled ListenOverflows ListenDrops TCPReqQFullDoCookies TCPReqQFullDrop TCPAbortOnData TCPAbortOnClose TCPTimeWaitOverflow\n" +
		"TcpExt: 1 2 3 4 5 6 7 8 9 10 11\nIpExt: InNoRoutes\nIpExt: 0\n"
)

func TestTheKernelsTotalsAreReadByName(t *testing.T) {
	var got Totals
	got.parseSockstat([]byte(sockstatText))
	got.parseSockstat([]byte(sockstat6))
	got.parseSNMP([]byte(snmpText))
	got.parseSNMP([]byte(netstatText))
	want := Totals{
		InUse: 270, Orphans: 13, TimeWait: 24436, Pages: 122,
		AttemptFails: 1536771, EstabResets: 31458124, SyncookiesSent: 1, TimeWaitRecycled: 3, ListenOverflows: 5, ListenDrops: 6, TimeWaitOverflow: 11,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWhatSockstatDoesNotShowIsNoZero(t *testing.T) {
	for _, tc := range []struct {
		text, word string
		n          int
		ok         bool
	}{
		{sockstatText, "tw", 24436, true}, {sockstatText, "alloc", 275, true}, {sockstatText, "memory", 0, false}, {"TCP: tw 0\n", "tw", 0, true},
		{sockstat6, "inuse", 0, false}, {"UDP: inuse 5\n", "inuse", 0, false}, {"TCP: tw", "tw", 0, false}, {"TCP: tw x\n", "tw", 0, false},
		{"TCP: tw 2147483648\n", "tw", 0, false}, {"", "tw", 0, false},
	} {
		if n, ok := Sockstat([]byte(tc.text), "TCP", tc.word); n != tc.n || ok != tc.ok {
			t.Errorf("%q: %s is %d, %v, want %d, %v", tc.text, tc.word, n, ok, tc.n, tc.ok)
		}
	}
}

func FuzzTotalsNeverPanic(f *testing.F) {
	for _, s := range []string{sockstatText, sockstat6, snmpText, netstatText, "Tcp: a\nTcp:", "TCP: inuse", "TCP: inuse 99999999999999999999 tw -1\n", "X:\nX: 1\nX: 2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var got Totals
		got.parseSockstat(text)
		got.parseSNMP(text)
		if got.InUse < 0 || got.TimeWait < 0 || got.Orphans < 0 || got.Pages < 0 {
			t.Errorf("%+v has a negative count", got)
		}
	})
}

func TestRangesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, tc := range []struct{ span, reserved, err string }{
		{"32768 60999", "", ""}, {"1\t65535", "1-65535", ""}, {"5 5", "0,65535", ""},
		{"", "", "ip_local_port_range"}, {"5", "", "ip_local_port_range"}, {"6 5", "", "ip_local_port_range"},
		{"0 5", "", "ip_local_port_range"}, {"1 65536", "", "ip_local_port_range"},
		{"1 9", "3-", "ip_local_reserved_ports"}, {"1 9", "5-3", "ip_local_reserved_ports"}, {"1 9", "x", "ip_local_reserved_ports"},
	} {
		err := new(LocalPorts).SetRange([]byte(tc.span), []byte(tc.reserved))
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q less %q: %v, want an error about %q", tc.span, tc.reserved, err, tc.err)
		}
	}
}

func FuzzLocalPortsNeverPanic(f *testing.F) {
	f.Add([]byte("32768\t60999\n"), []byte("22,50003-50004\n"))
	f.Add([]byte("1 65535"), []byte("0-65535"))
	f.Fuzz(func(t *testing.T, span, reserved []byte) {
		p := new(LocalPorts)
		if p.SetRange(span, reserved) != nil {
			return
		}
		if p.Low < 1 || p.Low > p.High || p.Count < 0 || p.Count > int(p.High)-int(p.Low)+1 {
			t.Errorf("%q less %q: %d to %d, %d ports", span, reserved, p.Low, p.High, p.Count)
		}
	})
}
