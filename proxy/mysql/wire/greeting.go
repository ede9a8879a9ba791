package wire

import (
	"bytes"
	"encoding/binary"
)

const (
	// NonceLen is how many random bytes a proof is made over.
	NonceLen = 20

	nonceHead   = 8 // of the nonce stand before the capabilities
	maxVersion  = 256
	maxPlugin   = 64
	maxAuthData = 255 // what its length byte can say

	handshakeV10 = 10
	// replicationHack stands before MariaDB's version: replicas of MySQL 5.6
	// would take a first digit of 1 for version 1.
	replicationHack = "5.5.5-"
)

// Greeting is the server's first packet (HandshakeV10).
type Greeting struct {
	Version []byte // as sent, for a client to see: "5.5.5-10.11.19-MariaDB"
	ConnID  uint32
	Nonce   [NonceLen]byte
	Caps    Caps // with MariaDB's extended ones, where the server is one
	Charset uint8
	Status  Status
	Plugin  []byte // "mysql_native_password"
}

// ParseGreeting parses a server's greeting. Look at IsERR first: a server that
// is full, or has blocked us, greets with an ERR. A server without
// CapProtocol41, CapSecureConnection and CapPluginAuth, which is older than
// MySQL 5.5.7 and MariaDB 5.2, is refused.
func ParseGreeting(payload []byte) (g Greeting, err error) {
	f := fields{b: payload, packet: "greeting"}
	if v := f.u8("protocol version"); f.err == nil && v != handshakeV10 {
		f.at = 0
		f.fail("protocol version", "%d, want %d", v, handshakeV10)
	}
	g.Version = f.nul(maxVersion, false, "server version")
	g.ConnID = f.u32("connection id")
	copy(g.Nonce[:nonceHead], f.bytes(nonceHead, "nonce"))
	f.skip(1, "filler")
	g.Caps = Caps(f.u16("capabilities"))
	g.Charset = f.u8("character set")
	g.Status = Status(f.u16("status"))
	g.Caps |= Caps(f.u16("upper capabilities")) << 16
	const need = CapProtocol41 | CapSecureConnection | CapPluginAuth
	if f.err == nil && !g.Caps.Has(need) {
		f.fail("capabilities", "%s is missing: the server is too old", need&^g.Caps)
	}
	size := int(f.u8("length of the nonce"))
	if f.err == nil && size != NonceLen+1 {
		f.fail("length of the nonce", "%d bytes, want %d", size, NonceLen+1)
	}
	f.skip(6, "filler")
	if ext := f.u32("extended capabilities"); g.Caps.MariaDB() {
		g.Caps |= Caps(ext) << 32
	}
	copy(g.Nonce[nonceHead:], f.bytes(NonceLen-nonceHead, "nonce"))
	f.skip(1, "end of the nonce")
	g.Plugin = f.nul(maxPlugin, true, "plugin name")
	return g, f.err
}

// AppendGreeting appends g. Version and Plugin hold no NUL, and neither does
// Nonce (NewNonce): some clients read it as a string.
func AppendGreeting(dst []byte, g *Greeting) []byte {
	dst = appendNUL(append(dst, handshakeV10), g.Version)
	dst = binary.LittleEndian.AppendUint32(dst, g.ConnID)
	dst = append(append(dst, g.Nonce[:nonceHead]...), 0)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(g.Caps))
	dst = append(dst, g.Charset)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(g.Status))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(g.Caps>>16))
	dst = append(dst, NonceLen+1, 0, 0, 0, 0, 0, 0)
	var ext uint32
	if g.Caps.MariaDB() {
		ext = uint32(g.Caps >> 32)
	}
	dst = binary.LittleEndian.AppendUint32(dst, ext)
	dst = append(append(dst, g.Nonce[nonceHead:]...), 0)
	return appendNUL(dst, g.Plugin)
}

// Release returns the version without MariaDB's prefix for old replicas:
// "10.11.19-MariaDB".
func (g *Greeting) Release() []byte {
	return bytes.TrimPrefix(g.Version, []byte(replicationHack))
}
