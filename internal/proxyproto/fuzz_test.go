package proxyproto_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"weir/internal/proxyproto"
)

// line is version 1 by its grammar, but for the addresses.
var line = regexp.MustCompile(`^PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) ([^ \r\n]+) ([^ \r\n]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n$`)

// FuzzHeader holds the contract of Len whatever comes, and checks what Parse
// takes of version 1 against the grammar.
func FuzzHeader(f *testing.F) {
	for _, row := range good {
		f.Add([]byte(row.header), 7)
		f.Add([]byte(row.header+"GET"), len(row.header)-1)
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), 1)
	f.Add([]byte(strings.Repeat("PROXY TCP4 ", 20)), 107)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		n, err := proxyproto.Len(p)
		if err != nil || n > len(p) {
			if client, perr := proxyproto.Parse(p); perr == nil {
				t.Fatalf("%q: Len says %d, %v, and Parse %v", p, n, err, client)
			}
			if n > proxyproto.MaxLen || n < 0 {
				t.Fatalf("%q: a length of %d", p, n)
			}
			return
		}
		header := p[:n]
		client, err := proxyproto.Parse(header)
		if fields := line.FindSubmatch(header); p[0] == 'P' {
			var want netip.AddrPort
			valid := fields != nil
			if valid && len(fields[1]) > 0 {
				from, err1 := netip.ParseAddr(string(fields[2]))
				to, err2 := netip.ParseAddr(string(fields[3]))
				is4 := fields[1][0] == '4'
				var err3, err4 error
				want, err3 = netip.ParseAddrPort("[::]:" + string(fields[4]))
				_, err4 = netip.ParseAddrPort("[::]:" + string(fields[5]))
				valid = err1 == nil && err2 == nil && err3 == nil && err4 == nil &&
					from.Is4() == is4 && to.Is4() == is4 && from.Zone() == "" && to.Zone() == ""
				want = netip.AddrPortFrom(from.Unmap(), want.Port())
			}
			if valid != (err == nil) || valid && client != want {
				t.Fatalf("%q: %v, %v; by the grammar %v, %v", header, client, err, want, valid)
			}
		}
		if err != nil {
			return
		}
		// A part of a header that is good is a part of a header.
		k := min(max(cut, 0), n-1)
		if more, err := proxyproto.Len(p[:k]); err != nil || more <= k || more > n {
			t.Fatalf("%q: after %d of its %d bytes Len says %d, %v", header, k, n, more, err)
		}
	})
}
