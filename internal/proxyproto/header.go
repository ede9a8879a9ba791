// Package proxyproto reads the header that a proxy sends before all else on a
// connection, to say whose it is: the PROXY protocol, versions 1 (a line) and 2
// (binary), after HAProxy's doc/proxy-protocol.txt of 2020/03/05, section 2.
//
// It is a leaf and knows no socket. Len says, as the bytes come, how many more
// of them belong to the header, so that whoever reads takes exactly these; Parse
// reads the address out of it. Neither keeps what it is given, and both are safe
// for concurrent use.
//
// Whether a header is to be expected is for the caller to know: it must never be
// guessed from the bytes, or every client could say that it is another.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// MaxLen is the longest header that is taken, in bytes. The address of a header
// ends at byte 232 at the latest; what may follow in version 2 (TLVs: the name
// that TLS was asked for, a certificate) is skipped, and has room up to here. The
// field for its length would allow 65,551.
const MaxLen = 4096

const (
	maxLen1 = 107 // of version 1, with its CRLF: section 2.1
	minLen1 = len("PROXY UNKNOWN\r\n")
	minLen2 = 16 // of version 2: signature, version and command, family, length
)

// The bytes that the two versions begin with.
var (
	signature1 = []byte("PROXY ")
	signature2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// The errors of Len and Parse wrap one of these.
var (
	ErrMissing = errors.New("no PROXY header")
	ErrBroken  = errors.New("a broken PROXY header")
	ErrTooLong = errors.New("a PROXY header that is too long")
)

// Len says how long the header is that p begins with, as far as p tells. If n is
// at most len(p), the header is p[:n]. If n is larger, the bytes up to n belong
// to the header as well, and more may: they are to be read, and Len called again
// with all of them. An error means that no valid header begins like this.
func Len(p []byte) (n int, err error) {
	switch {
	case len(p) == 0:
		return minLen1, nil
	case begins(p, signature2):
		return len2(p)
	case begins(p, signature1):
		return len1(p)
	}
	const shown = 16
	return 0, fmt.Errorf("%w: the connection begins with %q", ErrMissing, p[:min(len(p), shown)])
}

// begins says whether p begins with sig, as far as there is enough of p.
func begins(p, sig []byte) bool { return bytes.HasPrefix(sig, p[:min(len(p), len(sig))]) }

// Parse returns the client's address and port that a header gives, which is the
// whole of p. The zero value stands for whoever is connected: the header says
// that this is the proxy's own connection (LOCAL, a health check), or one of
// which it cannot tell the address (UNKNOWN, a unix socket, datagrams).
func Parse(p []byte) (client netip.AddrPort, err error) {
	n, err := Len(p)
	switch {
	case err != nil:
		return client, err
	case n != len(p):
		return client, fmt.Errorf("%w: %d bytes of a header that has %d", ErrBroken, len(p), n)
	case p[0] == signature2[0]:
		return parse2(p)
	}
	return parse1(p)
}

// Version 2: what follows the signature, section 2.2.
const (
	offCommand = 12 // the version in the upper four bits, and the command
	offFamily  = 13 // the address family in the upper four bits, and the protocol
	offLen     = 14 // of the rest, in network byte order

	local, proxied = 0x20, 0x21 // version 2 and the command

	tcp4, tcp6     = 0x11, 0x21
	lastFamily     = 0x3 // unix
	lastProtocol   = 0x2 // datagrams
	addrs4, addrs6 = 12, 36
	addrsUnix      = 216
)

func len2(p []byte) (int, error) {
	if len(p) > offCommand && p[offCommand] != local && p[offCommand] != proxied {
		return 0, fmt.Errorf("%w: version and command are %#02x, want 0x20 or 0x21", ErrBroken, p[offCommand])
	}
	if len(p) < minLen2 {
		return minLen2, nil
	}
	n := minLen2 + int(binary.BigEndian.Uint16(p[offLen:]))
	if n > MaxLen {
		return 0, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, n, MaxLen)
	}
	return n, nil
}

// parse2 reads a header of version 2 that is whole. Its TLVs are skipped, a
// checksum among them: TCP has one, and whoever could change the bytes on their
// way could change that too.
func parse2(p []byte) (client netip.AddrPort, err error) {
	if p[offCommand] == local {
		return client, nil // with whatever family and addresses
	}
	family, protocol := p[offFamily]>>4, p[offFamily]&0xf
	if family > lastFamily || protocol > lastProtocol {
		return client, fmt.Errorf("%w: family and protocol are %#02x", ErrBroken, p[offFamily])
	}
	rest := p[minLen2:]
	if want := [...]int{0, addrs4, addrs6, addrsUnix}[family]; len(rest) < want {
		return client, fmt.Errorf("%w: %d bytes of addresses, family %#x has %d", ErrBroken, len(rest), family, want)
	}
	switch p[offFamily] {
	case tcp4: // source and destination, then their ports
		a := netip.AddrFrom4([4]byte(rest[:4]))
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(rest[8:])), nil
	case tcp6:
		a := netip.AddrFrom16([16]byte(rest[:16])).Unmap()
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(rest[32:])), nil
	}
	return client, nil
}
