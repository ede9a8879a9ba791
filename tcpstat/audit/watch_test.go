package audit

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// The counters run since the namespace was made: only what is added while doctor
// looks is known to be of now. One second is for all of them, and is not taken
// where all are zero.
func TestWhatIsLongPastIsToldAndNotWarnedOf(t *testing.T) {
	const past = "since the network namespace was made, none of them while doctor looked: long past, or in bursts"
	for _, tc := range []struct {
		check         string
		before, after string
		want          Verdict
		says          string
		takes         time.Duration
	}{
		{"tw_buckets", "TCPTimeWaitOverflow 3", "TCPTimeWaitOverflow 3", Pass, "; overflow: 3 sockets skipped TIME_WAIT " + past, time.Second},
		{"tw_buckets", "TCPTimeWaitOverflow 3", "TCPTimeWaitOverflow 5", Warn, "; overflow: 5 sockets skipped TIME_WAIT since the network namespace was made, 2 of them while doctor looked", time.Second},
		{"tw_buckets", "TCPTimeWaitOverflow 0", "TCPTimeWaitOverflow 5", Warn, "5 of them while doctor looked", 0},
		{"tw_buckets", "TCPTimeWaitOverflow 0", "TCPTimeWaitOverflow 0", Pass, "at most 131,072", 0},
		{"accept_queue", "ListenOverflows 5000 ListenDrops 5000", "ListenOverflows 5000 ListenDrops 5000", Pass, "; 5,000 handshakes, beside 1,000,000 that were accepted, found a queue full " + past, time.Second},
		{"accept_queue", "ListenOverflows 5000 ListenDrops 5000", "ListenOverflows 5001 ListenDrops 5001", Warn, "found a queue full since the network namespace was made, 1 of them while doctor looked", time.Second},
		{"accept_queue", "ListenOverflows 0 ListenDrops 0", "ListenOverflows 2 ListenDrops 2", Warn, "; 2 handshakes, beside 1,000,000 that were accepted, found a queue full since the network namespace was made, 2 of them while doctor looked", 0},
		{"accept_queue", "ListenOverflows 7 ListenDrops 9", "ListenOverflows 7 ListenDrops 9", Pass, "; 2 SYNs were dropped for other causes " + past, time.Second},
		{"accept_queue", "ListenOverflows 7 ListenDrops 9", "ListenOverflows 7 ListenDrops 18", Pass, "; 11 SYNs were dropped for other causes since the network namespace was made, 9 of them while doctor looked", time.Second},
		{"accept_queue", "ListenOverflows 7 ListenDrops 9", "ListenOverflows 7 ListenDrops 19", Warn, "10 of them while doctor looked", time.Second},
		{"syncookies", "SyncookiesSent 9", "SyncookiesSent 9", Pass, "; 9 cookies sent " + past + ": a queue of SYNs was full", time.Second},
		{"syncookies", "SyncookiesSent 9", "SyncookiesSent 12", Pass, "3 of them while doctor looked", time.Second},
		{"tw_reuse", "TWRecycled 12", "TWRecycled 12", Pass, "tw_reuse = 2", 0}, // loopback's
	} {
		m, took := watch(t, tc.before, tc.after, nil)
		if took != tc.takes {
			t.Errorf("%+v: took %v", tc, took)
		}
		f := finding(t, m, tc.check)
		if f.Verdict != tc.want || !strings.Contains(f.Found, tc.says) {
			t.Errorf("%+v: got %s, %q", tc, f.Verdict, f.Found)
		}
		if strings.HasPrefix(tc.before, "ListenOverflows 5000") && strings.Contains(f.Found, "other causes") {
			t.Errorf("a drop that is an overflow is told twice: %s", f.Found)
		}
	}

	everything := "ListenOverflows 1 ListenDrops 2 TCPTimeWaitOverflow 3 SyncookiesSent 4 TCPReqQFullDrop 5 TWRecycled 6"
	m, took := watch(t, everything, strings.ReplaceAll(everything, "TWRecycled 6", "TWRecycled 8"), func(s *scene) { s.set("net.ipv4.tcp_tw_reuse", "1") })
	if took != watchFor {
		t.Errorf("all counters took %v: they share one wait", took)
	}
	if f := finding(t, m, "tw_reuse"); f.Verdict != Pass || !strings.Contains(f.Found, ", 8 ports taken from TIME_WAIT since the network namespace was made, 2 of them while doctor looked") {
		t.Errorf("%+v", f)
	}
	for _, check := range []string{"accept_queue", "tw_buckets", "syncookies"} {
		if f := finding(t, m, check); f.Verdict != Pass {
			t.Errorf("%+v", f)
		}
	}
}

// watch has a machine watched whose counters are before at first and after in the
// second that follows.
func watch(t *testing.T, before, after string, with func(*scene)) (m *Machine, took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		s := aScene()
		if with != nil {
			with(s)
		}
		tree := s.tree()
		count := func(pairs string) {
			tree["proc/self/net/netstat"] = &fstest.MapFile{Data: []byte(netstat(pairs)), Mode: 0o444}
		}
		count(before)
		m = &Machine{FS: tree, Sockets: s.sockets}
		began, done := time.Now(), make(chan struct{})
		go func() { defer close(done); m.Watch(t.Context()) }()
		synctest.Wait()
		count(after)
		<-done
		took = time.Since(began)
	})
	return m, took
}

func finding(t *testing.T, m *Machine, check string) Finding {
	t.Helper()
	for _, f := range Run(m, aScene().plan).Findings {
		if f.Name == check {
			return f
		}
	}
	t.Fatalf("no check is called %s", check)
	return Finding{}
}

// A look that is cut short does not call past what it has not seen to be past.
func TestAWatchThatIsCutShortKnowsOnlyWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := aScene()
		s.files["proc/self/net/netstat"] = netstat("ListenOverflows 3 TCPTimeWaitOverflow 0")
		m := &Machine{FS: s.tree(), Sockets: s.sockets}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		m.Watch(ctx)
		if d := time.Since(began); d != 0 {
			t.Errorf("took %v", d)
		}
		if f := finding(t, m, "accept_queue"); f.Verdict != Warn || !strings.Contains(f.Found, "and when is not known") {
			t.Errorf("%+v", f)
		}
		if f := finding(t, m, "tw_buckets"); f.Verdict != Pass {
			t.Errorf("%+v", f)
		}
	})
}

// Neither a kernel without a counter nor one whose files are hidden is waited
// for, or warned of.
func TestCountersThatAreNotThereAreNotWaitedFor(t *testing.T) {
	for _, text := range []string{"", "IpExt: InNoRoutes\nIpExt: 7\n", "TcpExt: ListenOverflows\nTcpExt: many\n"} {
		synctest.Test(t, func(t *testing.T) {
			s := aScene()
			s.files["proc/self/net/netstat"] = text
			if text == "" {
				delete(s.files, "proc/self/net/netstat")
			}
			m := &Machine{FS: s.tree(), Sockets: s.sockets}
			began := time.Now()
			m.Watch(t.Context())
			if d := time.Since(began); d != 0 {
				t.Errorf("%q: took %v", text, d)
			}
			for _, check := range []string{"accept_queue", "tw_buckets", "syncookies"} {
				if f := finding(t, m, check); f.Verdict != Pass {
					t.Errorf("%q: %+v", text, f)
				}
			}
		})
	}
}
