package wire

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// As MariaDB 10.11 stores the password "secret".
const (
	storedNative  = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
	storedEd25519 = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"
)

func TestAGoodNativeProofOpensTheBackend(t *testing.T) {
	stored, err := ParseNativeHash(storedNative)
	if err != nil {
		t.Fatal(err)
	}
	if stored != NewNativeKey("secret").Hash() {
		t.Error("the hash is not the server's")
	}
	toUs, toBackend := NewNonce(), NewNonce()
	key, ok := VerifyNative(NewNativeKey("secret").Proof(toUs[:]), toUs[:], stored)
	if !ok {
		t.Fatal("a good proof is refused")
	}
	// With the key that came out, the backend's nonce is answered.
	if got, want := key.Proof(toBackend[:]), NewNativeKey("secret").Proof(toBackend[:]); !bytes.Equal(got, want) {
		t.Errorf("proof %x, want %x", got, want)
	}
}

func TestAGoodSHA2ProofOpensAWarmBackend(t *testing.T) {
	stored := NewSHA2Key("secret").Hash()
	toUs, toBackend := NewNonce(), NewNonce()
	key, ok := VerifySHA2(NewSHA2Key("secret").Proof(toUs[:]), toUs[:], stored)
	if !ok {
		t.Fatal("a good proof is refused")
	}
	if got, want := key.Proof(toBackend[:]), NewSHA2Key("secret").Proof(toBackend[:]); !bytes.Equal(got, want) {
		t.Errorf("proof %x, want %x", got, want)
	}
}

func TestWrongProofsAreRefused(t *testing.T) {
	nonce, other := NewNonce(), NewNonce()
	native, sha2 := NewNativeKey("secret"), NewSHA2Key("secret")
	public, err := Ed25519Public("secret")
	if err != nil {
		t.Fatal(err)
	}
	long := [Ed25519NonceLen]byte{1, 2, 3}
	sig, err := SignEd25519("secret", long[:])
	if err != nil {
		t.Fatal(err)
	}
	verify := map[string]struct {
		proof []byte
		check func(proof []byte) bool
		other func() bool // the same proof for another nonce
	}{
		"native": {native.Proof(nonce[:]), func(p []byte) bool { k, ok := VerifyNative(p, nonce[:], native.Hash()); return ok && k == native },
			func() bool { _, ok := VerifyNative(native.Proof(nonce[:]), other[:], native.Hash()); return ok }},
		"sha2": {sha2.Proof(nonce[:]), func(p []byte) bool { k, ok := VerifySHA2(p, nonce[:], sha2.Hash()); return ok && k == sha2 },
			func() bool { _, ok := VerifySHA2(sha2.Proof(nonce[:]), other[:], sha2.Hash()); return ok }},
		"ed25519": {sig, func(p []byte) bool { return VerifyEd25519(p, long[:], public) },
			func() bool { return VerifyEd25519(sig, make([]byte, Ed25519NonceLen), public) }},
	}
	for name, v := range verify {
		if !v.check(v.proof) {
			t.Errorf("%s: a good proof is refused", name)
		}
		if v.other() {
			t.Errorf("%s: a proof for another nonce is taken", name)
		}
		for _, p := range [][]byte{nil, {}, v.proof[1:], append(bytes.Clone(v.proof), 0), make([]byte, len(v.proof))} {
			if v.check(p) {
				t.Errorf("%s: %x is taken", name, p)
			}
		}
		for i := range v.proof {
			p := bytes.Clone(v.proof)
			if p[i] ^= 1; v.check(p) {
				t.Errorf("%s: a proof with bit %d turned is taken", name, 8*i)
			}
		}
	}
	if k, ok := VerifyNative(make([]byte, 20), nonce[:], native.Hash()); ok || k != (NativeKey{}) {
		t.Error("a wrong proof gives a key")
	}
	if VerifyEd25519(sig, long[:31], public) || VerifyEd25519(sig, long[:], public[:31]) {
		t.Error("ed25519: a short nonce or key is taken")
	}
}

// The vector is that of MariaDB's own test of the plugin.
func TestEd25519IsMariaDBs(t *testing.T) {
	nonce := bytes.Repeat([]byte("A"), Ed25519NonceLen)
	sig, err := SignEd25519("foobar", nonce)
	if err != nil {
		t.Fatal(err)
	}
	want := "e83dc93f433f33355649ee23aa7592d61a11230908" + "84f58d3063423a24e4305473febba858a2f93923554feea76a4475" + "3887ab2f140e854f0fe57ca0b0648a0e"
	if got := hex.EncodeToString(sig); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	stored, err := ParseEd25519Public(storedEd25519)
	if err != nil {
		t.Fatal(err)
	}
	if public, err := Ed25519Public("secret"); err != nil || !bytes.Equal(public, stored) {
		t.Errorf("public key %x, %v; the server has %x", public, err, stored)
	}
	if _, err := SignEd25519("foobar", nonce[:20]); err == nil || !strings.Contains(err.Error(), "nonce has 20 bytes, want 32") {
		t.Errorf("a nonce of 20 bytes: %v", err)
	}
}

func TestStoredHashesAreChecked(t *testing.T) {
	for _, test := range []struct{ hash, want string }{
		{"14E65567ABDB5135D0CFD9A70B3032C179A49EE7", "has 40 characters, want * and 40"},
		{"*14E6", "has 5 characters"},
		{"", "has 0 characters"},
		{"*14E65567ABDB5135D0CFD9A70B3032C179A49EEX", "invalid byte"},
	} {
		h, err := ParseNativeHash(test.hash)
		if err == nil || !strings.Contains(err.Error(), test.want) || h != (NativeHash{}) {
			t.Errorf("%s: %v, want %q", test.hash, err, test.want)
		}
		if err != nil && len(test.hash) > 5 && strings.Contains(err.Error(), test.hash) {
			t.Errorf("the error shows the hash: %v", err)
		}
	}
	if lower, err := ParseNativeHash(strings.ToLower(storedNative)); err != nil || lower != NewNativeKey("secret").Hash() {
		t.Errorf("lower case: %v", err)
	}
	for _, s := range []string{"", "short", storedEd25519 + "A", "*" + storedEd25519[1:]} {
		if _, err := ParseEd25519Public(s); err == nil {
			t.Errorf("%q is taken for a public key", s)
		}
	}
}

func TestAPasswordIsEncryptedForItsServer(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := AppendPublicKey(nil, &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParsePublicKey(pem)
	if err != nil || !public.Equal(&key.PublicKey) {
		t.Fatal(err)
	}
	nonce := NewNonce()
	password := "a password that is longer than the nonce it is hidden under"
	b, err := EncryptPassword(public, password, nonce[:])
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecryptPassword(key, b, nonce[:])
	if err != nil || string(got) != password {
		t.Errorf("%q, %v", got, err)
	}
	if !VerifyPassword(got, NewSHA2Key(password).Hash()) || VerifyPassword(got[1:], NewSHA2Key(password).Hash()) {
		t.Error("the password is not the stored one's")
	}
	other := NewNonce()
	if got, err := DecryptPassword(key, b, other[:]); err == nil && string(got) == password {
		t.Error("the nonce does not count")
	}
	b[7] ^= 1
	for _, bad := range [][]byte{b, nil, b[:100]} {
		if got, err := DecryptPassword(key, bad, nonce[:]); err == nil {
			t.Errorf("%x is decrypted to %q", bad, got)
		}
	}
	if _, err := EncryptPassword(public, strings.Repeat("p", 300), nonce[:]); err == nil || !strings.Contains(err.Error(), "a password of 300 bytes with a key of 2048 bits") {
		t.Errorf("a password of 300 bytes: %v", err)
	}
	if _, err := EncryptPassword(public, "p", nonce[:8]); err == nil || !strings.Contains(err.Error(), "nonce has 8 bytes") {
		t.Errorf("a nonce of 8 bytes: %v", err)
	}
	for _, bad := range []string{"", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePublicKey([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a public key", bad)
		}
	}
}

func TestAClearPasswordEndsAtItsNUL(t *testing.T) {
	if p, err := ClearPassword(AppendClearPassword(nil, "secret")); err != nil || string(p) != "secret" {
		t.Errorf("%q, %v", p, err)
	}
	for _, bad := range []string{"", "secret", "sec\x00ret\x00", "secret\x00\x00", strings.Repeat("x", 5000) + "\x00"} {
		if p, err := ClearPassword([]byte(bad)); err == nil {
			t.Errorf("%.20q is read as %.20q", bad, p)
		}
	}
}

func TestNoncesHaveNoByteThatClientsStumbleOver(t *testing.T) {
	var seen [256]int
	last := NewNonce()
	for range 2000 {
		n := NewNonce()
		if n == last {
			t.Fatal("the same nonce twice")
		}
		last = n
		for _, c := range n {
			seen[c]++
		}
	}
	for c, n := range seen {
		if may := c > 0 && c < 128 && c != '$'; may != (n > 0) {
			t.Errorf("byte 0x%02x was seen %d times in 40,000", c, n)
		}
	}
}

func TestSecretsDoNotShowThemselves(t *testing.T) {
	native, sha2 := NewNativeKey("secret"), NewSHA2Key("secret")
	for _, s := range []any{native, native.Hash(), sha2, sha2.Hash(), &native, struct{ K NativeKey }{native}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			if got := fmt.Sprintf(verb, s); !strings.Contains(got, hidden) || len(got) > 80 {
				t.Errorf("%T with %s shows %s", s, verb, got)
			}
		}
		if got, err := json.Marshal(s); err != nil || !bytes.Contains(got, []byte(hidden)) {
			t.Errorf("%T as JSON shows %s, %v", s, got, err)
		}
	}
}

func TestEveryNamedErrorHasStateAndText(t *testing.T) {
	for _, c := range []Code{
		CodeTooManyConnections, CodeHandshake, CodeAccessDenied, CodeNoDatabase, CodeUnknownCommand, CodeUnknownDatabase, CodeShutdown,
		CodeUnknownThread, CodeKillDenied, CodeWrongDatabaseName, CodeUnknownError, CodeHostBlocked, CodePacketTooLarge, CodeReadError, CodeReadInterrupted,
		CodeWriteError, CodeWriteInterrupted, CodeLockWaitTimeout, CodeDeadlock, CodeUserLimit, CodeUnsupportedAuth, CodeUnknownStatement,
		CodeOptionPreventsStmt, CodeQueryInterrupted, CodeTooManyPrepared, CodeReadOnlyTransaction, CodeMalformedPacket, CodeReadOnlyMode,
		CodeConnectionKilled, CodeStatementTimeout, CodeQueryTimeout, CodeSecureTransport, CodeClientTimeout,
	} {
		if len(State(c)) != 5 || Text(c) == "" {
			t.Errorf("%d: SQLSTATE %q, text %q", c, State(c), Text(c))
		}
	}
	for c, want := range map[Code]string{1040: "08004", 1045: "28000", 1049: "42000", 1226: "42000", 1047: "08S01", 1053: "08S01",
		1158: "08S01", 1159: "08S01", 1160: "08S01", 1161: "08S01", 1317: "70100", 1835: "HY000", 60000: "HY000"} {
		if State(c) != want {
			t.Errorf("%d: SQLSTATE %s, want %s", c, State(c), want)
		}
	}
	// What the captured server said agrees.
	for _, name := range stories {
		s := readStory(t, name)
		for _, e := range s.exchanges(t) {
			for _, part := range e.parts {
				_, p, _, _ := NextFrame(part)
				if !IsERR(p) {
					continue
				}
				got, err := ParseERR(p)
				if known := Text(got.Code) != ""; err != nil || known && string(got.State) != State(got.Code) {
					t.Errorf("%s, %s: %d has SQLSTATE %s, here %s; %v", name, e.note, got.Code, got.State, State(got.Code), err)
				}
			}
		}
	}
}

func TestCommandsAreKnownByTheirNames(t *testing.T) {
	var known []string
	for c := range 256 {
		if Command(c).Known() {
			known = append(known, Command(c).String())
		}
	}
	if len(known) != 26 || !slices.Contains(known, "COM_QUERY") || Command(0x20).String() != "command 0x20" {
		t.Errorf("known are %v", known)
	}
	for c, answered := range map[Command]bool{ComQuit: false, ComStmtClose: false, ComStmtSendLongData: false, ComQuery: true, ComPing: true, 0x20: false} {
		if c.Answered() != answered {
			t.Errorf("%s: answered is %v", c, c.Answered())
		}
	}
	if !ComBinlogDump.Unbounded() || ComQuery.Unbounded() {
		t.Error("Unbounded is wrong")
	}
}
