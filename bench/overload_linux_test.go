//go:build bench

package bench

import (
	"flag"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/internal/testnet"
)

var stepLength = flag.Duration("step", 0, "length of a step of the overload runs, in half seconds; 0: 5s, or 1s with -short")

// More than the backend can answer, from clients that do not wait for each
// other's answers: what comes through in time, and how soon after a step.
func TestBenchOverload(t *testing.T) {
	capacity := httpScene.capacity(t, 0.95)
	var rows []overloadRow
	for _, k := range overloadKinds {
		t.Run(k.String(), func(t *testing.T) {
			rows = append(rows, httpScene.overloadRun(t, k, capacity, overloadSteps(1, 2, 5, 10, 1), 0))
		})
	}
	if t.Failed() {
		return // half a table is none
	}
	httpScene.printOverload(t, capacity, rows)
}

// The same where a fifth of the requests matter more: they alone are less than
// the capacity.
func TestBenchOverloadPriority(t *testing.T) {
	capacity := httpScene.capacity(t, 0.95)
	var rows []overloadRow
	for _, k := range priorityKinds {
		t.Run(k.String(), func(t *testing.T) {
			rows = append(rows, httpScene.overloadRun(t, k, capacity, overloadSteps(1, 2, 3.5, 1), 0.2))
		})
	}
	if t.Failed() {
		return
	}
	httpScene.printPriority(t, capacity, rows)
}

// overloadSteps are the steps of a run, with two before them at half the capacity:
// one that opens and fills what there is to fill, and one that shows how long an
// answer takes without a load.
func overloadSteps(times ...float64) []step {
	length := *stepLength
	switch {
	case length == 0 && testing.Short():
		length = time.Second
	case length == 0:
		length = 5 * time.Second
	}
	list := []step{{times: 0.5, length: min(4*time.Second, length), warm: true}, {times: 0.5, length: length, warm: true}}
	for _, n := range times {
		list = append(list, step{times: n, length: length})
	}
	return list
}

// There are two ways in which a generator of load can lie: it does not ask while
// it waits, or it counts from the moment at which it got to ask.
func TestARequestThatFindsAllConnectionsBusyDoesNotWaitUnseen(t *testing.T) {
	l := newOverloadLab(t)
	// One client, 10 ms for a request: the second one takes 20, and the eleventh
	// has no chance.
	arrivals, results, _ := crowdOf(l.lab, httpProtocol{}, l.addr, 1, make([]time.Duration, 14)...)
	if results[200] < 5 || results[200] > 10 || results[200]+results[timedOut]+results[unsent] != 14 || results[unsent] < 3 {
		t.Errorf("14 requests at once became %v, want nearly 10 answers and the rest without a connection", results)
	}
	for i, a := range arrivals {
		if least := time.Duration(i+1) * service; a.good() && a.done-a.at < least {
			t.Errorf("request %d took %v, want %v at least: all before it had to be answered", i, a.done-a.at, least)
		}
	}
}

func TestAClientThatGivesUpOpensAnotherConnection(t *testing.T) {
	ns := testnet.NewNetns(t)
	silent, err := ns.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// 30 at once and 20 clients, who are all free again when 20 more come.
	at := append(make([]time.Duration, 30), slices.Repeat([]time.Duration{2 * deadline}, 20)...)
	_, results, opened := crowdOf(&lab{t: t, ns: ns}, httpProtocol{}, netip.MustParseAddrPort(silent.Addr().String()), 20, at...)
	if results[timedOut] != 40 || results[unsent] != 10 {
		t.Errorf("50 requests became %v, want 40 given up (%d) and 10 without a connection (%d)", results, timedOut, unsent)
	}
	if opened != 60 {
		t.Errorf("%d connections were opened, want 60: one for each client, and one for each request that was given up", opened)
	}
}
