package wire

import (
	"encoding/binary"
	"fmt"
)

// Bounds of what a client may send before it is known. Servers allow names of
// 128 characters (users, MariaDB) and 64 (databases), four bytes each.
const (
	maxUser  = 512
	maxDB    = 256
	maxProof = 4096     // a password in clear text is the longest
	maxAttrs = 64 << 10 // MySQL's own bound for the attributes together

	// MaxLogin is the longest payload of a login or COM_CHANGE_USER that
	// ParseLogin and ParseChangeUser take. Who reads one refuses a longer one by
	// its header, before it is in memory.
	MaxLogin = maxAttrs + maxProof + maxUser + maxDB + maxPlugin + 64
)

// SSLRequestLen is the payload of an SSLRequest in bytes: a login up to the
// user's name. No login is as short.
const SSLRequestLen = 32

// Login is a client's answer to the greeting (HandshakeResponse41), and what
// COM_CHANGE_USER says.
type Login struct {
	Caps      Caps // in COM_CHANGE_USER not sent, so the connection's
	Beyond    Caps // what ParseLogin dropped: claimed, and not offered
	MaxPacket uint32
	Charset   uint16 // of the collation; one byte at login
	User      []byte
	Proof     []byte // the plugin's first answer; empty without a password
	Database  []byte // empty: none
	Plugin    []byte
	Attrs     []byte // connection attributes, see Attrs
}

// IsSSLRequest says whether a client's first packet asks for TLS. The login
// follows inside TLS with the next sequence number.
func IsSSLRequest(payload []byte) bool {
	return len(payload) == SSLRequestLen && Caps(binary.LittleEndian.Uint16(payload)).Has(CapSSL)
}

// ParseLogin parses a login. offered are the capabilities of the greeting that
// it answers: what the client claims beyond them is dropped, so that Caps are
// those agreed on. A client without CapProtocol41 and CapSecureConnection, which
// is older than MySQL 4.1, is refused.
func ParseLogin(payload []byte, offered Caps) (l Login, err error) {
	f := fields{b: payload, packet: "login"}
	f.bound()
	l.Caps = Caps(f.u32("capabilities"))
	l.MaxPacket = f.u32("max packet")
	l.Charset = uint16(f.u8("character set"))
	f.skip(19, "filler")
	if ext := f.u32("extended capabilities"); l.Caps.MariaDB() && offered.MariaDB() {
		l.Caps |= Caps(ext) << 32
	}
	const need = CapProtocol41 | CapSecureConnection
	if f.err == nil && !l.Caps.Has(need) {
		f.at = 0
		f.fail("capabilities", "%s is missing: the client is too old", need&^l.Caps)
	}
	// The layout follows what the client says, which may be more than it was
	// offered; what is agreed on is less.
	said := l.Caps
	l.User = f.nul(maxUser, false, "user")
	if said.Has(CapAuthLenenc) {
		l.Proof = f.text(maxProof, "proof")
	} else {
		l.Proof = f.bytes(int(f.u8("length of the proof")), "proof")
	}
	if said.Has(CapConnectWithDB) {
		l.Database = f.nul(maxDB, true, "database")
	}
	if said.Has(CapPluginAuth) && f.rest() > 0 {
		l.Plugin = f.nul(maxPlugin, true, "plugin name")
	}
	if said.Has(CapConnectAttrs) && f.rest() > 0 {
		l.Attrs = f.text(maxAttrs, "connection attributes")
	}
	// A compression level may follow, and whatever future clients add.
	l.Caps &= offered | CapMySQL
	l.Beyond = said &^ l.Caps
	return l, f.err
}

func (f *fields) bound() {
	if len(f.b) > MaxLogin {
		f.fail("length", "%d bytes, the limit is %d", len(f.b), MaxLogin)
	}
}

// AppendLogin appends l, whose Caps say which of its fields are sent. Set
// CapConnectWithDB with a Database only, and CapConnectAttrs as you like. User,
// Database and Plugin hold no NUL: CheckLogin tells.
func AppendLogin(dst []byte, l *Login) []byte {
	dst = appendLoginHead(dst, l)
	dst = appendNUL(dst, l.User)
	dst = l.appendProof(dst, l.Caps.Has(CapAuthLenenc))
	if l.Caps.Has(CapConnectWithDB) {
		dst = appendNUL(dst, l.Database)
	}
	if l.Caps.Has(CapPluginAuth) {
		dst = appendNUL(dst, l.Plugin)
	}
	if l.Caps.Has(CapConnectAttrs) {
		dst = appendText(dst, l.Attrs)
	}
	return dst
}

// appendProof writes a length of one byte where the peer reads no other, and
// then cuts nothing: CheckLogin has refused what does not fit.
func (l *Login) appendProof(dst []byte, lenenc bool) []byte {
	if lenenc {
		return appendText(dst, l.Proof)
	}
	return append(append(dst, byte(len(l.Proof))), l.Proof...)
}

// AppendSSLRequest appends the SSLRequest that goes before l.
func AppendSSLRequest(dst []byte, l *Login) []byte {
	with := *l
	with.Caps |= CapSSL
	return appendLoginHead(dst, &with)
}

func appendLoginHead(dst []byte, l *Login) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(l.Caps))
	dst = binary.LittleEndian.AppendUint32(dst, l.MaxPacket)
	dst = append(dst, byte(l.Charset))
	dst = append(dst, make([]byte, 19)...)
	var ext uint32
	if l.Caps.MariaDB() {
		ext = uint32(l.Caps >> 32)
	}
	return binary.LittleEndian.AppendUint32(dst, ext)
}

// CheckLogin says why l cannot be sent: a name that would end early or is
// longer than a server takes. Names that came out of ParseLogin are good.
func CheckLogin(l *Login) error {
	for _, s := range []struct {
		name  string
		value []byte
		limit int
	}{{"user", l.User, maxUser}, {"database", l.Database, maxDB}, {"plugin name", l.Plugin, maxPlugin}} {
		if len(s.value) > s.limit {
			return fmt.Errorf("mysql login: %s is %d bytes long, the limit is %d", s.name, len(s.value), s.limit)
		}
		for _, c := range s.value {
			if c == 0 {
				return fmt.Errorf("mysql login: %s %q holds a NUL, which would end it", s.name, s.value)
			}
		}
	}
	limit := maxProof
	if !l.Caps.Has(CapAuthLenenc) {
		limit = 255
	}
	if len(l.Proof) > limit {
		return fmt.Errorf("mysql login: the proof is %d bytes long, the limit is %d", len(l.Proof), limit)
	}
	if len(l.Attrs) > maxAttrs {
		return fmt.Errorf("mysql login: connection attributes are %d bytes long, the limit is %d", len(l.Attrs), maxAttrs)
	}
	return nil
}
