package proxyproto_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"weir/internal/proxyproto"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// v2 makes a header of version 2 with the right length.
func v2(command, family byte, rest string) string {
	b := append([]byte(signature), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(rest)))) + rest
}

const (
	addrs4 = "\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb" // 192.168.0.1:56324 to 192.168.0.11:443
	addrs6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\xdc\x04\x01\xbb"
	mapped   = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\xa8\x00\x01"
	longest4 = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"
	longest6 = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
	longest  = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
)

// good are headers and the client that each names; "" is whoever is connected.
var good = []struct{ name, header, client string }{
	{"the example of section 2.1", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1:56324"},
	{"the longest over IPv4", longest4, "255.255.255.255:65535"},
	{"the shortest over IPv4", "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0"},
	{"the longest over IPv6", longest6, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	{"the shortest over IPv6", "PROXY TCP6 :: :: 0 0\r\n", "[::]:0"},
	{"capital letters", "PROXY TCP6 2001:DB8::7 ::1 1 2\r\n", "[2001:db8::7]:1"},
	{"IPv4 in IPv6", "PROXY TCP6 ::ffff:192.168.0.1 ::1 7 8\r\n", "192.168.0.1:7"},
	{"unknown", "PROXY UNKNOWN\r\n", ""},
	{"unknown with addresses", "PROXY UNKNOWN 1.2.3.4 what ever\r\n", ""},
	{"the longest line", longest, ""},

	{"version 2 over IPv4", v2(0x21, 0x11, addrs4), "192.168.0.1:56324"},
	{"version 2 over IPv6", v2(0x21, 0x21, addrs6), "[2001:db8::7]:56324"},
	{"version 2, IPv4 in IPv6", v2(0x21, 0x21, mapped+addrs6[16:]), "192.168.0.1:56324"},
	{"version 2 with TLVs", v2(0x21, 0x11, addrs4+"\x02\x00\x01a\x04\x00\x00"), "192.168.0.1:56324"},
	{"version 2 with TLVs up to the limit", v2(0x21, 0x21, addrs6+strings.Repeat("\x04", proxyproto.MaxLen-16-36)), "[2001:db8::7]:56324"},
	{"a unix socket", v2(0x21, 0x31, strings.Repeat("/", 216)), ""},
	{"unix datagrams", v2(0x21, 0x32, strings.Repeat("/", 216)), ""},
	{"UDP over IPv4", v2(0x21, 0x12, addrs4), ""},
	{"UDP over IPv6", v2(0x21, 0x22, addrs6), ""},
	{"unspecified", v2(0x21, 0x00, ""), ""},
	{"unspecified with something", v2(0x21, 0x00, "anything"), ""},
	{"local", v2(0x20, 0x00, ""), ""},
	{"local with addresses", v2(0x20, 0x11, addrs4), ""},
	{"local with a family that there is not", v2(0x20, 0xff, "xy"), ""},
}

// Whoever reads as many bytes as Len says, and asks again, ends with the header
// and nothing of what follows.
func TestAHeaderIsReadToItsLastByteAndNotBeyond(t *testing.T) {
	for _, row := range good {
		all := []byte(row.header + "GET / HTTP/1.1\r\n")
		for have := 0; ; {
			n, err := proxyproto.Len(all[:have])
			if err != nil || n > len(row.header) {
				t.Fatalf("%s: after %d bytes of %d it has %d, %v", row.name, have, len(row.header), n, err)
			}
			if n <= have {
				if n != len(row.header) {
					t.Errorf("%s: it ends after %d bytes of %d", row.name, n, len(row.header))
				}
				break
			}
			have = n
		}
		// What was looked at may end anywhere, and hold more than the header.
		for k := range all {
			n, err := proxyproto.Len(all[:k])
			if done := k >= len(row.header); err != nil || done != (n <= k) || n > len(row.header) {
				t.Fatalf("%s: of %d bytes, %d of them here, it says %d, %v", row.name, len(row.header), k, n, err)
			}
		}
	}
}

func TestAHeaderNamesItsClientOrWhoeverIsConnected(t *testing.T) {
	for _, row := range good {
		want := netip.AddrPort{}
		if row.client != "" {
			want = netip.MustParseAddrPort(row.client)
		}
		if got, err := proxyproto.Parse([]byte(row.header)); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", row.name, got, err, want)
		}
		for _, not := range []string{row.header[:len(row.header)-1], row.header + "\n", "", row.header + row.header} {
			if got, err := proxyproto.Parse([]byte(not)); err == nil {
				t.Errorf("%s: %q is no header, but gives %v", row.name, not, got)
			}
		}
	}
}

func TestAHeaderThatIsNotOneIsRefused(t *testing.T) {
	for _, row := range []struct {
		header string
		want   error
		at     int // the byte at which Len has to see it; 0 if only Parse does
	}{
		{"GET / HTTP/1.1\r\n\r\n", proxyproto.ErrMissing, 1},
		{"PRI * HTTP/2.0\r\n\r\n", proxyproto.ErrMissing, 3},
		{"PUT / HTTP/1.1\r\n\r\n", proxyproto.ErrMissing, 2},
		{"PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", proxyproto.ErrMissing, 6},
		{"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", proxyproto.ErrMissing, 1},
		{"\x16\x03\x01\x02\x00\x01", proxyproto.ErrMissing, 1},
		{"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", proxyproto.ErrMissing, 5},
		{"\x55\x00\x00\x01\x85\xa6\x03\x20\x00\x00\x00\x01\x2d\x00\x00\x00\x00\x00\x00\x00", proxyproto.ErrMissing, 1}, // a login

		{"PROXY UNKNOWN" + strings.Repeat(" ", 107-13) + "\r\n", proxyproto.ErrTooLong, 107},
		{"PROXY TCP4 " + strings.Repeat("1", 200), proxyproto.ErrTooLong, 107},
		{longest[:105] + "0\r\n", proxyproto.ErrTooLong, 107}, // the CR is the 107th

		{"PROXY UNKNOWN\n", proxyproto.ErrBroken, 0},
		{"PROXY UNKNOWN\r \r\n", proxyproto.ErrBroken, 0},
		{"PROXY UNKNOWNX\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4\r\n", proxyproto.ErrBroken, 0},
		{"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 ::1 ::1 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 ::1 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 18446744073709551617\r\n", proxyproto.ErrBroken, 0},
		{"PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", proxyproto.ErrBroken, 0},

		{v2(0x11, 0x11, addrs4), proxyproto.ErrBroken, 13},
		{v2(0x22, 0x11, addrs4), proxyproto.ErrBroken, 13},
		{v2(0x21, 0x41, addrs4), proxyproto.ErrBroken, 0},
		{v2(0x21, 0x13, addrs4), proxyproto.ErrBroken, 0},
		{v2(0x21, 0x11, addrs4[:11]), proxyproto.ErrBroken, 0},
		{v2(0x21, 0x21, addrs6[:35]), proxyproto.ErrBroken, 0},
		{v2(0x21, 0x31, strings.Repeat("/", 215)), proxyproto.ErrBroken, 0},
		{v2(0x21, 0x11, "")[:14] + "\xff\xff", proxyproto.ErrTooLong, 16},
		{v2(0x20, 0x00, strings.Repeat("\x04", proxyproto.MaxLen-16+1)), proxyproto.ErrTooLong, 16},
	} {
		if _, err := proxyproto.Parse([]byte(row.header)); !errors.Is(err, row.want) {
			t.Errorf("%q: %v, want %v", row.header, err, row.want)
		}
		for k := range len(row.header) + 1 {
			_, err := proxyproto.Len([]byte(row.header[:k]))
			if seen := row.at > 0 && k >= row.at; seen != (err != nil) || seen && !errors.Is(err, row.want) {
				t.Errorf("%q: of %d bytes it says %v; %v is to be seen at %d", row.header, k, err, row.want, row.at)
			}
		}
	}
}
