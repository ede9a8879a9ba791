package wire

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCapturedLoginIsRead(t *testing.T) {
	s := readStory(t, "login-native")
	p := s.payload(t, 0)
	g, err := ParseGreeting(p)
	if err != nil {
		t.Fatal(err)
	}
	if string(g.Version) != "5.5.5-10.11.19-MariaDB-0+deb12u1-log" || string(g.Release()) != "10.11.19-MariaDB-0+deb12u1-log" ||
		g.ConnID == 0 || string(g.Plugin) != PluginNative || g.Status != StatusAutocommit || g.Charset != 8 {
		t.Errorf("got %+v", g)
	}
	if uint32(g.Caps) != 0x81fff7fe || g.Caps>>32 != 0x1d || !g.Caps.MariaDB() {
		t.Errorf("capabilities %x: %s", uint64(g.Caps), g.Caps)
	}
	if again := AppendGreeting(nil, &g); !bytes.Equal(again, p) {
		t.Errorf("written again it is\n%x, was\n%x", again, p)
	}

	p = s.payload(t, 1)
	l, err := ParseLogin(p, g.Caps)
	if err != nil {
		t.Fatal(err)
	}
	if l.Caps != s.caps || string(l.User) != "app" || string(l.Database) != "shop" || string(l.Plugin) != PluginNative ||
		l.Charset != 45 || l.MaxPacket != 1<<24 {
		t.Errorf("got %+v", l)
	}
	var attrs []string
	a := Attrs{Data: l.Attrs}
	for a.Next() {
		attrs = append(attrs, string(a.Name)+"="+string(a.Value))
	}
	if want := []string{"_client_name=capture", "_pid=42"}; a.Err != nil || !slices.Equal(attrs, want) {
		t.Errorf("attributes %v, %v; want %v", attrs, a.Err, want)
	}
	if again := AppendLogin(nil, &l); !bytes.Equal(again, p) {
		t.Errorf("written again it is\n%x, was\n%x", again, p)
	}
	// The proof is the one of the password, by the hash alone.
	key, ok := VerifyNative(l.Proof, g.Nonce[:], NewNativeKey("secret").Hash())
	if !ok || key != NewNativeKey("secret") {
		t.Error("the proof is not taken")
	}

	ok2, err := ParseOK(s.payload(t, 2), s.caps)
	if err != nil {
		t.Fatal(err)
	}
	tr := Tracks{Data: ok2.Track}
	if !tr.Next() || tr.Kind != TrackSchema || string(tr.Value) != "shop" || tr.Next() || tr.Err != nil {
		t.Errorf("the OK tells %+v", tr)
	}
}

func TestCapturedAuthSwitchIsRead(t *testing.T) {
	s := readStory(t, "login-switch")
	p := s.payload(t, 2)
	if AuthStepOf(p) != AuthOther {
		t.Fatalf("%x is not told for an AuthSwitchRequest", p)
	}
	sw, err := ParseAuthSwitch(p)
	if err != nil || string(sw.Plugin) != PluginNative || len(sw.Data) != NonceLen {
		t.Fatalf("%+v, %v", sw, err)
	}
	if again := AppendAuthSwitch(nil, string(sw.Plugin), sw.Data); !bytes.Equal(again, p) {
		t.Errorf("written again it is %x, was %x", again, p)
	}
	if got := NewNativeKey("secret").Proof(sw.Data); !bytes.Equal(got, s.payload(t, 3)) {
		t.Errorf("the proof is %x, was %x", got, s.payload(t, 3))
	}
	if AuthStepOf(s.payload(t, 4)) != AuthDone {
		t.Error("the OK is not told")
	}

	sw, err = ParseAuthSwitch(readStoryPayload(t, "login-ed25519", 2))
	if err != nil || string(sw.Plugin) != PluginEd25519 || len(sw.Data) != Ed25519NonceLen {
		t.Fatalf("%+v, %v", sw, err)
	}
}

func readStoryPayload(t *testing.T, name string, turn int) []byte {
	t.Helper()
	s := readStory(t, name)
	return s.payload(t, turn)
}

func TestCapturedRefusalsAreRead(t *testing.T) {
	for _, test := range []struct {
		story string
		turn  int
		code  Code
		state string
		text  string
	}{
		{"login-denied", 2, CodeAccessDenied, "28000", "Access denied for user 'app'@'127.0.0.1' (using password: YES)"},
		{"login-unknown-database", 2, CodeUnknownDatabase, "42000", "Unknown database 'nowhere'"},
		// In the greeting's place there is no SQLSTATE.
		{"login-too-many", 0, CodeTooManyConnections, "", "Too many connections"},
	} {
		p := readStoryPayload(t, test.story, test.turn)
		if !IsERR(p) || AuthStepOf(p) != AuthFailed {
			t.Errorf("%s: %x is not told for an ERR", test.story, p)
		}
		e, err := ParseERR(p)
		if err != nil || e.Code != test.code || string(e.State) != test.state || string(e.Text) != test.text {
			t.Errorf("%s: %+v, %v", test.story, e, err)
		}
		caps := CapProtocol41
		if test.state == "" {
			caps = 0
		} else if State(test.code) != test.state {
			t.Errorf("%d has SQLSTATE %s, the server says %s", test.code, State(test.code), test.state)
		}
		if again := AppendERR(nil, caps, test.code, test.text); !bytes.Equal(again, p) {
			t.Errorf("%s: written again it is %x, was %x", test.story, again, p)
		}
	}
	if got, want := string(AppendERR(nil, 0, CodeTooManyConnections, "")), "\xff\x10\x04Too many connections"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What MariaDB has extended capabilities in is filler for MySQL, and ignored.
func TestMySQLHasNoExtendedCapabilities(t *testing.T) {
	g := Greeting{Version: []byte("8.4.6"), ConnID: 9, Nonce: NewNonce(), Charset: 255, Status: StatusAutocommit, Caps: 0xdfffffff, Plugin: []byte(PluginSHA2)}
	p := AppendGreeting(nil, &g)
	for i := range 10 {
		p[1+len("8.4.6")+1+4+8+1+2+1+2+2+1+i] = 0xff
	}
	got, err := ParseGreeting(p)
	if diff := cmp.Diff(g, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got.Caps.MariaDB() || string(got.Release()) != "8.4.6" {
		t.Errorf("%s is taken for MariaDB", got.Release())
	}
	l := Login{Caps: CapMySQL | need41 | CapPluginAuth, User: []byte("u"), Proof: []byte{}, Plugin: []byte(PluginSHA2)}
	b := AppendLogin(nil, &l)
	b[28] = 0xff
	login, err := ParseLogin(b, ^Caps(0)&^CapMySQL)
	if diff := cmp.Diff(l, login); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestServerErrorsAreErrors(t *testing.T) {
	for _, test := range []struct{ b, want string }{
		{"\xff\x15\x04#28000Access denied", "mysql error 1045 (28000): Access denied"},
		{"\xff\x10\x04Too many connections", "mysql error 1040: Too many connections"},
		{"\xff\x10\x04#no", "mysql error 1040: #no"},
		{"\xff\x10\x04", "mysql error 1040: "},
	} {
		e, err := ParseERR([]byte(test.b))
		if err != nil || e.Error() != test.want {
			t.Errorf("%q: %s, %v; want %s", test.b, e.Error(), err, test.want)
		}
	}
	if p := AppendERR(nil, CapProtocol41, CodeUnknownError, strings.Repeat("x", 1000)); len(p) != 3+6+maxErrText {
		t.Errorf("a text of 1000 bytes makes %d", len(p))
	}
	if p := string(AppendERRState(nil, CapProtocol41, 1644, "45000", "ours")); p != "\xff\x6c\x06#45000ours" {
		t.Errorf("got %q", p)
	}
}

func TestLoginsAreReadAsWritten(t *testing.T) {
	for _, offered := range []Caps{Offer(1<<64-1, true), Offer(1<<64-2, false)} {
		for _, caps := range []Caps{
			offered, offered &^ CapAuthLenenc, offered &^ CapConnectAttrs, offered &^ CapPluginAuth,
			offered &^ CapConnectWithDB, offered &^ extended, offered &^ (CapConnectAttrs | CapPluginAuth | CapConnectWithDB | CapAuthLenenc),
		} {
			l := Login{Caps: caps, MaxPacket: 1 << 24, Charset: 45, User: []byte("user"), Proof: []byte("proof with a \x00 in it")}
			if caps.Has(CapConnectWithDB) {
				l.Database = []byte("shop")
			}
			if caps.Has(CapPluginAuth) {
				l.Plugin = []byte(PluginSHA2)
			}
			if caps.Has(CapConnectAttrs) {
				l.Attrs = AppendAttr(AppendAttr(nil, "program_name", "test"), "long", strings.Repeat("x", 300))
			}
			if err := CheckLogin(&l); err != nil {
				t.Error(err)
			}
			got, err := ParseLogin(AppendLogin(nil, &l), offered)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(l, got); diff != "" {
				t.Errorf("%s: %s", caps, diff)
			}

			change := l
			change.MaxPacket, change.Charset = 0, 0x1234
			if !caps.Has(CapConnectWithDB) {
				change.Database = []byte{}
			}
			got, err = ParseChangeUser(AppendChangeUser(nil, &change), caps)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(change, got); diff != "" {
				t.Errorf("COM_CHANGE_USER: %s: %s", caps, diff)
			}

			ssl := AppendSSLRequest(nil, &l)
			if !IsSSLRequest(ssl) || IsSSLRequest(AppendLogin(nil, &l)) {
				t.Error("an SSLRequest is not told from a login")
			}
			if caps&CapSSL == 0 && IsSSLRequest(AppendLogin(nil, &l)[:SSLRequestLen]) {
				t.Error("a login cut short is taken for an SSLRequest")
			}
		}
	}
}

func TestAClientGetsNoMoreThanItWasOffered(t *testing.T) {
	offered := Offer(^Caps(0)&^CapMySQL, false) &^ CapMultiStatements
	l := Login{Caps: ^Caps(0) &^ (CapMySQL | CapSSL), User: []byte("u"), Proof: []byte("p"), Database: []byte("d"), Plugin: []byte(PluginNative)}
	got, err := ParseLogin(append(AppendLogin(nil, &l), 9), offered) // the compression level comes last
	if err != nil {
		t.Fatal(err)
	}
	if got.Caps != offered {
		t.Errorf("agreed on %s, offered %s", got.Caps, offered)
	}
	if string(got.Plugin) != PluginNative || string(got.Database) != "d" {
		t.Errorf("got %+v", got)
	}
}

// The short forms of old clients, and those that leave out the last NUL.
func TestOldLoginsAreRead(t *testing.T) {
	head := "\x00\x82\x00\x00\x00\x00\x00\x01\x21" + strings.Repeat("\x00", 23)
	for _, test := range []struct {
		name, b          string
		user, db, plugin string
	}{
		{"no plugin", head + "bob\x00\x00", "bob", "", ""},
		{"database without NUL", strings.Replace(head, "\x00\x82", "\x08\x82", 1) + "bob\x00\x00shop", "bob", "shop", ""},
		{"plugin without NUL", "\x00\x82\x08\x00" + head[4:] + "bob\x00\x00mysql_native_password", "bob", "", PluginNative},
		{"plugin announced and missing", "\x00\x82\x08\x00" + head[4:] + "bob\x00\x00", "bob", "", ""},
		{"empty user", head + "\x00\x00", "", "", ""},
	} {
		l, err := ParseLogin([]byte(test.b), ^Caps(0))
		if err != nil || string(l.User) != test.user || string(l.Database) != test.db || string(l.Plugin) != test.plugin {
			t.Errorf("%s: %+v, %v", test.name, l, err)
		}
	}
	l, err := ParseChangeUser([]byte("\x11bob\x00\x00shop\x00"), CapProtocol41)
	if err != nil || string(l.User) != "bob" || string(l.Database) != "shop" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestMalformedLoginPacketsSayWhatAndWhere(t *testing.T) {
	login := readStoryPayload(t, "login-native", 1)
	greeting := readStoryPayload(t, "login-native", 0)
	parseLogin := func(b []byte) error { _, err := ParseLogin(b, ^Caps(0)); return err }
	parseGreeting := func(b []byte) error { _, err := ParseGreeting(b); return err }
	parseSwitch := func(b []byte) error { _, err := ParseAuthSwitch(b); return err }
	parseChange := func(b []byte) error { _, err := ParseChangeUser(b, fullCaps|CapPluginAuth|CapConnectAttrs); return err }
	parseMore := func(b []byte) error { _, err := ParseAuthMore(b); return err }
	edit := func(b []byte, at int, s string) []byte {
		c := bytes.Clone(b)
		copy(c[at:], s)
		return c
	}
	for _, test := range []struct {
		parse func([]byte) error
		b     []byte
		want  string
	}{
		{parseLogin, nil, "malformed mysql login: capabilities at byte 0: 0 bytes are left, 4 are needed"},
		{parseLogin, login[:31], "malformed mysql login: extended capabilities at byte 28: 3 bytes are left"},
		{parseLogin, login[:34], "user at byte 32: no NUL ends it"},
		{parseLogin, login[:40], "proof at byte 37: 3 bytes are left, 20 are needed"},
		{parseLogin, edit(login, 1, "\x00"), "PROTOCOL_41|SECURE_CONNECTION is missing: the client is too old"},
		{parseLogin, append(login[:32:32], strings.Repeat("u", 600)+"\x00\x00"...), "user at byte 32: 600 bytes long, the limit is 512"},
		{parseLogin, make([]byte, MaxLogin+1), "length at byte 0: 70529 bytes, the limit is 70528"},
		{parseGreeting, edit(greeting, 0, "\x09"), "protocol version at byte 0: 9, want 10"},
		{parseGreeting, greeting[:30], "server version at byte 1: no NUL ends it"},
		{parseGreeting, greeting[:60], "filler at byte 59: 1 bytes are left, 6 are needed"},
		{parseGreeting, []byte("\x0av\x00" + strings.Repeat("\x00", 60)), "PROTOCOL_41|SECURE_CONNECTION|PLUGIN_AUTH is missing: the server is too old"},
		{parseSwitch, []byte("\xfe"), "mysql_old_password"},
		{parseSwitch, []byte("\xfe" + strings.Repeat("p", 65) + "\x00"), "plugin name at byte 1: 65 bytes long, the limit is 64"},
		{parseSwitch, []byte("\xfep\x00" + strings.Repeat("d", 256)), "data at byte 3: 256 bytes long, the limit is 255"},
		{parseSwitch, []byte("\x00"), "header"},
		{parseMore, []byte("\x01"), "data at byte 1: missing"},
		{parseChange, []byte("\x11bob\x00\x05abc"), "proof at byte 6: 3 bytes are left, 5 are needed"},
		{parseChange, []byte("\x11bob\x00\x00shop"), "database at byte 6: no NUL ends it"},
		{parseChange, []byte("\x11bob\x00\x00shop\x00\x21\x00p\x00\xfd\x00\x00\x01"), "connection attributes at byte 19: 0 bytes are left, 65536 are needed"},
		{parseChange, []byte("\x03"), "command"},
	} {
		err := test.parse(test.b)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.60x: got %v, want %q", test.b, err, test.want)
		}
	}
	// Cut short anywhere, none is taken for whole, but for what may be missing.
	for i := range greeting[:len(greeting)-len(PluginNative)-1] {
		if parseGreeting(greeting[:i]) == nil {
			t.Errorf("%d bytes of a greeting of %d are taken", i, len(greeting))
		}
	}
}

func TestLoginsThatCannotBeSentAreRefused(t *testing.T) {
	good := Login{Caps: CapAuthLenenc, User: []byte("app"), Proof: make([]byte, 300)}
	if err := CheckLogin(&good); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		l    Login
		want string
	}{
		{Login{User: []byte("a\x00b")}, `user "a\x00b" holds a NUL`},
		{Login{Database: bytes.Repeat([]byte("d"), 300)}, "database is 300 bytes long, the limit is 256"},
		{Login{Plugin: []byte("p\x00")}, "plugin name"},
		{Login{Proof: make([]byte, 300)}, "the proof is 300 bytes long, the limit is 255"},
		{Login{Attrs: make([]byte, 1<<17)}, "connection attributes are 131072 bytes long, the limit is 65536"},
	} {
		if err := CheckLogin(&test.l); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

func TestOfferedAndAskedCapabilities(t *testing.T) {
	maria := Caps(0x1d_81fff7fe)
	mysql := Caps(0xdfffffff) // 8.4
	for _, test := range []struct {
		name    string
		backend Caps
	}{{"MariaDB 10.11", maria}, {"MySQL 8.4", mysql}} {
		offer := Offer(test.backend, true)
		if offer.MariaDB() != test.backend.MariaDB() {
			t.Errorf("%s: the other one is offered", test.name)
		}
		const never = CapCompress | CapZstd | CapProgress | CapCacheMetadata | CapOptionalMetadata | CapQueryAttributes |
			CapComMulti | CapBulkUnitResults | CapMultiFactor | CapExpiredPassword
		if offer&never != 0 {
			t.Errorf("%s: %s is offered", test.name, offer&never)
		}
		if !offer.Has(CapSSL|CapSessionTrack|CapDeprecateEOF|CapMultiStatements|CapLocalFiles|CapFoundRows) || Offer(test.backend, false).Has(CapSSL) {
			t.Errorf("%s: offered are %s", test.name, offer)
		}
		if extended := offer.Has(CapStmtBulk | CapExtendedTypes); extended != test.backend.MariaDB() {
			t.Errorf("%s: bulk execution offered: %v", test.name, extended)
		}
		// A bare client gets a connection with the trackers all the same.
		bare := CapProtocol41 | CapSecureConnection | test.backend&CapMySQL
		ask := Ask(test.backend, bare, false)
		if !ask.Has(CapSessionTrack|CapDeprecateEOF|CapPluginAuth) || ask&differs != 0 || ask&(CapSSL|CapConnectWithDB|never) != 0 {
			t.Errorf("%s: asked for %s", test.name, ask)
		}
		if Verbatim(ask, bare) || !Verbatim(ask, bare|CapSessionTrack|CapDeprecateEOF) {
			t.Errorf("%s: Verbatim is wrong", test.name)
		}
		full := Ask(test.backend, offer, true)
		if full&^(test.backend|CapSSL) != 0 {
			t.Errorf("%s: asked for %s, which it does not have", test.name, full&^test.backend)
		}
		if Key(offer) != offer&differs || Key(full) != Key(offer) || Key(bare) != 0 {
			t.Errorf("%s: key %s", test.name, Key(offer))
		}
	}
	// What is not asked of all must be in the key, or two clients share a connection that suits one.
	if rest := Ask(maria, ^Caps(0), false) &^ Ask(maria, 0, false); rest != Key(rest) {
		t.Errorf("asked for by some clients, and not in the key: %s", rest&^Key(rest))
	}
}
