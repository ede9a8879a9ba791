package proxyproto

import (
	"bytes"
	"fmt"
	"net/netip"
)

// len1 is Len for a line of version 1. Where it ends shows only when its LF has
// come, so until then n is the shortest that it can still become.
func len1(p []byte) (int, error) {
	if i := bytes.IndexByte(p[:min(len(p), maxLen1)], '\n'); i >= 0 {
		return i + 1, nil
	}
	if len(p) >= maxLen1 {
		return 0, fmt.Errorf("%w: no end of the line in %d bytes", ErrTooLong, maxLen1)
	}
	missing := len("\r\n")
	if len(p) > 0 && p[len(p)-1] == '\r' {
		missing = len("\n")
	}
	// A line that names addresses has five spaces, with something behind each.
	if bytes.HasPrefix(p, []byte("PROXY TCP")) {
		missing += len(" ?") * max(0, 5-bytes.Count(p, []byte(" ")))
	}
	return min(max(len(p)+missing, minLen1), maxLen1), nil
}

// parse1 reads a line that is whole, with its LF. It is as strict as section 2.1
// asks for: single spaces, CRLF, addresses of the family that is named.
func parse1(p []byte) (client netip.AddrPort, err error) {
	broken := func(what string, b []byte) (netip.AddrPort, error) {
		return netip.AddrPort{}, fmt.Errorf("%w: %s %q", ErrBroken, what, b)
	}
	line, ok := bytes.CutSuffix(p, []byte("\r\n"))
	if !ok || bytes.IndexByte(line, '\r') >= 0 {
		return broken("the line is not ended by its first CR and LF:", p)
	}
	protocol, rest, _ := bytes.Cut(line[len(signature1):], []byte(" "))
	is4 := string(protocol) == "TCP4"
	switch {
	case string(protocol) == "UNKNOWN":
		return client, nil // the rest is to be ignored
	case !is4 && string(protocol) != "TCP6":
		return broken("the protocol is none of TCP4, TCP6 and UNKNOWN:", protocol)
	}
	var fields [4][]byte // source, destination, and their ports
	for i := range fields {
		fields[i], rest, ok = bytes.Cut(rest, []byte(" "))
		if last := i == len(fields)-1; ok == last {
			return broken("not two addresses and two ports:", line)
		}
	}
	source, ok := address(fields[0], is4)
	if !ok {
		return broken("no source address of the protocol:", fields[0])
	}
	if _, ok = address(fields[1], is4); !ok {
		return broken("no destination address of the protocol:", fields[1])
	}
	from, ok := port(fields[2])
	if !ok {
		return broken("no source port:", fields[2])
	}
	if _, ok = port(fields[3]); !ok {
		return broken("no destination port:", fields[3])
	}
	return netip.AddrPortFrom(source.Unmap(), from), nil
}

// address reads an address of one family. A zone has no place in a header.
func address(b []byte, is4 bool) (netip.Addr, bool) {
	a, err := netip.ParseAddr(string(b))
	return a, err == nil && a.Is4() == is4 && a.Zone() == ""
}

// port reads a decimal number up to 65,535 without leading zeros.
func port(b []byte) (uint16, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = 10*n + int(c-'0'); n > 1<<16-1 {
			return 0, false
		}
	}
	return uint16(n), len(b) == 1 || len(b) > 1 && b[0] != '0'
}
