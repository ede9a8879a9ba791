package wire

// AuthSwitch is a server's wish for another proof (AuthSwitchRequest).
type AuthSwitch struct {
	Plugin []byte
	Data   []byte // the nonce: 20 bytes for native and sha2, 32 for ed25519
}

// ParseAuthSwitch parses an AuthSwitchRequest. One without a plugin's name asks
// for the proof of MySQL before 4.1, which is as good as the password: refused.
func ParseAuthSwitch(payload []byte) (s AuthSwitch, err error) {
	f := fields{b: payload, packet: "auth switch request"}
	if b := f.u8("header"); f.err == nil && b != byteEOF {
		f.fail("header", "0x%02x, want 0xfe", b)
	}
	if f.err == nil && f.rest() == 0 {
		f.fail("plugin name", "missing: the server asks for mysql_old_password, which is not secure; set another plugin for this account")
	}
	s.Plugin = f.nul(maxPlugin, true, "plugin name")
	if f.rest() > maxAuthData {
		f.fail("data", "%d bytes long, the limit is %d", f.rest(), maxAuthData)
	}
	s.Data = f.bytes(f.rest(), "data")
	// A NUL ends the nonce of the plugins that take 20 bytes.
	if n := len(s.Data); n == NonceLen+1 && s.Data[n-1] == 0 {
		s.Data = s.Data[:n-1]
	}
	return s, f.err
}

// AppendAuthSwitch appends an AuthSwitchRequest. A nonce of 20 bytes gets the
// NUL that clients expect behind it.
func AppendAuthSwitch(dst []byte, plugin string, data []byte) []byte {
	dst = append(appendNUL(append(dst, byteEOF), plugin), data...)
	if len(data) == NonceLen {
		dst = append(dst, 0)
	}
	return dst
}

// ParseAuthMore parses an AuthMoreData and returns its data: one byte
// (SHA2FastOK, SHA2FullAuth), or a public key.
func ParseAuthMore(payload []byte) (data []byte, err error) {
	f := fields{b: payload, packet: "auth more data"}
	if b := f.u8("header"); f.err == nil && b != byteMore {
		f.fail("header", "0x%02x, want 0x01", b)
	}
	if f.rest() == 0 {
		f.fail("data", "missing")
	}
	return f.bytes(f.rest(), "data"), f.err
}

// AppendAuthMore appends an AuthMoreData.
func AppendAuthMore(dst []byte, data ...byte) []byte {
	return append(append(dst, byteMore), data...)
}

// AuthStep is what a server sends while a client logs in.
type AuthStep uint8

const (
	AuthUnknown AuthStep = iota // not understood: close
	AuthDone                    // OK
	AuthFailed                  // ERR
	AuthOther                   // AuthSwitchRequest
	AuthData                    // AuthMoreData
)

// AuthStepOf tells a server's packets during login apart, by the first byte.
func AuthStepOf(payload []byte) AuthStep {
	if len(payload) == 0 {
		return AuthUnknown
	}
	switch payload[0] {
	case byteOK:
		return AuthDone
	case byteERR:
		return AuthFailed
	case byteEOF:
		return AuthOther
	case byteMore:
		return AuthData
	}
	return AuthUnknown
}
