package configs

import (
	"reflect"
	"testing"
	"time"
)

// Each unit prints in a form that reads back to the same value.
func TestUnitsPrintAsTheyAreRead(t *testing.T) {
	for _, tc := range []struct {
		typ      reflect.Type
		in, want string
	}{
		{durationType, "1ms", "1ms"}, {durationType, "1500ms", "1.5s"}, {durationType, "60s", "1m"}, {durationType, "90m", "1h30m"},
		{durationType, "24h", "24h"}, {durationType, "1h0m5s", "1h0m5s"}, {durationType, "10m", "10m"}, {durationType, "1.5h", "1h30m"},
		{durationType, "100s", "1m40s"}, {durationType, "0s", "0s"},
		{sizeType, "1024B", "1KiB"}, {sizeType, "1025B", "1025B"}, {sizeType, "1536KiB", "1536KiB"}, {sizeType, "2048MiB", "2GiB"}, {sizeType, "0GiB", "0B"},
		{rateType, "5/s", "5/s"}, {rateType, "60/m", "60/m"}, {rateType, "1/h", "1/h"},
		{percentType, "10%", "10%"}, {percentType, "2.50%", "2.5%"}, {percentType, "0%", "0%"}, {percentType, "0.05%", "0.05%"},
		{prefixType, "10.0.0.0/8", "10.0.0.0/8"}, {prefixType, "10.0.0.1", "10.0.0.1"}, {prefixType, "10.0.0.1/32", "10.0.0.1"}, {prefixType, "::1/128", "::1"},
	} {
		v, err := parseText(tc.in, tc.typ)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
			continue
		}
		got := formatScalar(v)
		if got != tc.want {
			t.Errorf("%s prints as %s, want %s", tc.in, got, tc.want)
		}
		if again, err := parseText(got, tc.typ); err != nil || !reflect.DeepEqual(again.Interface(), v.Interface()) {
			t.Errorf("%s reads back as %v, %v", got, again, err)
		}
	}
}

func TestUnitsRefuseWhatIsNotExact(t *testing.T) {
	for typ, texts := range map[reflect.Type][]string{
		durationType: {"", "30", "1", "0", "s", "-1s", "+1s", "1 s", "1S", "1us", "1\u00b5s", "1ns", "1d", "1w", "1s2", ".s", "1..5s", "0.5ms", "1e3s", "99999999999h", "1h-2m", " 1s"},
		sizeType:     {"", "1", "B", "-1B", "1.5KiB", "1kib", "1KB", "1K", "1k", "1TiB", "01B", "9223372036854775807B", "9999999999GiB", "1 KiB", "0x1B"},
		rateType:     {"", "5", "/s", "5/", "0/s", "-1/s", "1.5/s", "5/d", "5/sec", "5 /s", "05/s", "5/s/s"},
		percentType:  {"", "10", "%", "10%%", "-1%", "1.%", ".5%", "1.234%", "1e1%", "NaN%", "Inf%", "01%", "10 %"},
		prefixType:   {"", "10", "10.0.0.0/33", "10.0.0.1/8", "::ffff:1.2.3.4", "fe80::1%a", "10.0.0.0/08", "/8"},
	} {
		for _, s := range texts {
			if v, err := parseText(s, typ); err == nil {
				t.Errorf("%v takes %q as %v", typ, s, v)
			}
		}
	}
}

func TestAddressSplitsAsNetTakesIt(t *testing.T) {
	for _, tc := range []struct {
		in, network, target, host string
		port                      uint16
	}{
		{"127.0.0.1:8080", "tcp", "127.0.0.1:8080", "127.0.0.1", 8080},
		{":80", "tcp", ":80", "", 80},
		{"[::1]:443", "tcp", "[::1]:443", "::1", 443},
		{"db.test:65535", "tcp", "db.test:65535", "db.test", 65535},
		{"unix:/run/a b:c.sock", "unix", "/run/a b:c.sock", "", 0},
	} {
		a, err := ParseAddress(tc.in)
		if err != nil {
			t.Errorf("%s: %v", tc.in, err)
		}
		host, port := a.HostPort()
		if a.Network() != tc.network || a.Target() != tc.target || host != tc.host || port != tc.port {
			t.Errorf("%s: %s %s %s %d", tc.in, a.Network(), a.Target(), host, port)
		}
	}
}

func TestRatesAndSharesAsNumbers(t *testing.T) {
	if got := (Rate{Count: 90, Per: time.Minute}).PerSecond(); got != 1.5 {
		t.Errorf("90/m is %v a second", got)
	}
	if got := (Rate{}).PerSecond(); got != 0 {
		t.Errorf("no rate is %v a second", got)
	}
	if got := Percent(2.5).Fraction(); got != 0.025 {
		t.Errorf("2.5%% is %v", got)
	}
}
