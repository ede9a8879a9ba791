package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/tcpstat/audit"
)

// However many names there are and however dead the resolver is, doctor is not
// held up for long, and knows the addresses that came.
func TestDoctorsLookupsEndInTimeWithWhatTheyFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, asked := 0, 0, map[string]int{}
		lookup := func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			mu.Lock()
			now++
			most = max(most, now)
			asked[host]++
			mu.Unlock()
			defer func() { mu.Lock(); now--; mu.Unlock() }()
			switch {
			case host == "db.internal":
				return []netip.Addr{netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("2001:db8::8")}, nil
			case host == "no.such.invalid":
				return nil, errors.New("no such host")
			}
			<-ctx.Done() // the resolver does not answer
			return nil, ctx.Err()
		}
		backends := []audit.Backend{{Endpoint: "db.internal:3306"}, {Endpoint: "db.internal:3306"}, {Endpoint: "10.0.0.5:80"}, {Endpoint: "[::1]:80"}, {Endpoint: "no.such.invalid:9001"}}
		for i := range 100 {
			backends = append(backends, audit.Backend{Endpoint: fmt.Sprintf("slow%d:80", i)})
		}
		began := time.Now()
		got := resolve(t.Context(), lookup, backends)
		want := map[string][]netip.AddrPort{"db.internal:3306": {netip.MustParseAddrPort("10.0.0.8:3306"), netip.MustParseAddrPort("[2001:db8::8]:3306")}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v", got)
		}
		if d := time.Since(began); d != lookupLimit || most > lookups {
			t.Errorf("%v, and %d lookups at one time", d, most)
		}
		if asked["db.internal"] != 1 || asked["10.0.0.5"] != 0 || asked["::1"] != 0 {
			t.Errorf("looked up: %v", asked)
		}
	})
}

// -measure may take as long as its help and the documentation say, and no longer.
func TestHowLongMeasuringTakesIsSaid(t *testing.T) {
	var help strings.Builder
	runDoctor([]string{"-h"}, &help, &help)
	if want := "up to " + measureLimit.String(); !strings.Contains(strings.Join(strings.Fields(help.String()), " "), want) {
		t.Errorf("the help does not say %q:\n%s", want, help.String())
	}
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("costs here; up to %.0f s\n", measureLimit.Seconds()); !strings.Contains(string(text), want) {
		t.Errorf("docs/doctor.md does not say %q", want)
	}
}
