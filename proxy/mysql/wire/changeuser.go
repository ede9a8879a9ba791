package wire

import "encoding/binary"

// ParseChangeUser parses a client's COM_CHANGE_USER, payload with the command's
// byte. caps are those agreed on at login.
func ParseChangeUser(payload []byte, caps Caps) (l Login, err error) {
	f := fields{b: payload, packet: "COM_CHANGE_USER"}
	f.bound()
	l.Caps = caps
	if c := Command(f.u8("command")); f.err == nil && c != ComChangeUser {
		f.fail("command", "0x%02x, want 0x%02x", uint8(c), uint8(ComChangeUser))
	}
	l.User = f.nul(maxUser, false, "user")
	l.Proof = f.bytes(int(f.u8("length of the proof")), "proof")
	l.Database = f.nul(maxDB, false, "database")
	// Old clients end here.
	if f.rest() > 0 {
		l.Charset = f.u16("character set")
	}
	if caps.Has(CapPluginAuth) && f.rest() > 0 {
		l.Plugin = f.nul(maxPlugin, true, "plugin name")
	}
	if caps.Has(CapConnectAttrs) && f.rest() > 0 {
		l.Attrs = f.text(maxAttrs, "connection attributes")
	}
	return l, f.err
}

// AppendChangeUser appends l as a COM_CHANGE_USER. Its proof has at most 255
// bytes; over a nonce of long ago it is refused by MariaDB, which answers with
// an AuthSwitchRequest whatever it says.
func AppendChangeUser(dst []byte, l *Login) []byte {
	dst = appendNUL(append(dst, byte(ComChangeUser)), l.User)
	dst = l.appendProof(dst, false)
	dst = appendNUL(dst, l.Database)
	dst = binary.LittleEndian.AppendUint16(dst, l.Charset)
	if l.Caps.Has(CapPluginAuth) {
		dst = appendNUL(dst, l.Plugin)
	}
	if l.Caps.Has(CapConnectAttrs) {
		dst = appendText(dst, l.Attrs)
	}
	return dst
}

// Attrs walks connection attributes:
//
//	for a := (Attrs{Data: l.Attrs}); a.Next(); {
//		// a.Name, a.Value
//	}
type Attrs struct {
	Data        []byte // what is left
	Name, Value []byte
	Err         error
}

// Next goes to the next attribute; false at the end or a fault.
func (a *Attrs) Next() bool {
	if a.Err != nil || len(a.Data) == 0 {
		a.Name, a.Value = nil, nil
		return false
	}
	f := fields{b: a.Data, packet: "connection attributes"}
	a.Name = f.text(maxAttrs, "name")
	a.Value = f.text(maxAttrs, "value")
	a.Data, a.Err = a.Data[f.at:], f.err
	return a.Err == nil
}

// AppendAttr appends one connection attribute.
func AppendAttr(dst []byte, name, value string) []byte {
	return appendText(appendText(dst, name), value)
}
