package wire

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The parsers take what strangers send. Each target holds three rules: nothing
// panics, nothing that is returned lies outside of what was given (the race
// detector and the bounds of slices see to that), and what was parsed is parsed
// the same once it has been written again.

func seedPayloads(f *testing.F, stories ...string) {
	for _, name := range stories {
		s := readStory(f, name)
		for _, tn := range s.turns {
			for b := tn.b; ; {
				_, p, rest, ok := NextFrame(b)
				if !ok {
					break
				}
				f.Add(p, uint64(s.caps))
				b = rest
			}
		}
	}
}

func FuzzGreeting(f *testing.F) {
	seedPayloads(f, "login-native", "login-too-many")
	f.Fuzz(func(t *testing.T, b []byte, _ uint64) {
		g, err := ParseGreeting(b)
		if err != nil {
			return
		}
		if len(g.Version) > maxVersion || len(g.Plugin) > maxPlugin {
			t.Errorf("version of %d bytes, plugin of %d", len(g.Version), len(g.Plugin))
		}
		again, err := ParseGreeting(AppendGreeting(nil, &g))
		if diff := cmp.Diff(g, again); err != nil || diff != "" {
			t.Error(err, diff)
		}
	})
}

func FuzzLogin(f *testing.F) {
	seedPayloads(f, "login-native", "login-switch", "query-plain", "command-full")
	f.Fuzz(func(t *testing.T, b []byte, c uint64) {
		offered := Caps(c)
		l, err := ParseLogin(b, offered)
		if err != nil {
			return
		}
		if l.Caps&^(offered|CapMySQL) != 0 {
			t.Errorf("agreed on %s, which was not offered", l.Caps&^offered)
		}
		sameLogin(t, &l, func(l *Login) (Login, error) { return ParseLogin(AppendLogin(nil, l), l.Caps|need41) })
	})
}

const need41 = CapProtocol41 | CapSecureConnection

func FuzzChangeUser(f *testing.F) {
	seedPayloads(f, "command-full", "command-plain")
	f.Fuzz(func(t *testing.T, b []byte, c uint64) {
		l, err := ParseChangeUser(b, Caps(c))
		if err != nil {
			return
		}
		sameLogin(t, &l, func(l *Login) (Login, error) { return ParseChangeUser(AppendChangeUser(nil, l), l.Caps) })
	})
}

// sameLogin writes l and reads it again. Fields whose capability was not agreed
// on are not written.
func sameLogin(t *testing.T, l *Login, again func(*Login) (Login, error)) {
	t.Helper()
	for a := (Attrs{Data: l.Attrs}); a.Next(); {
		if len(a.Name)+len(a.Value) > len(l.Attrs) {
			t.Error("an attribute is longer than all of them")
		}
	}
	with := *l
	with.Caps |= need41 | CapAuthLenenc | CapConnectWithDB | CapPluginAuth | CapConnectAttrs
	if err := CheckLogin(&with); err != nil {
		t.Errorf("what was parsed cannot be sent: %v", err)
	}
	got, err := again(&with)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b []byte) bool { return bytes.Equal(a, b) } // nil and empty are one
	if !same(got.User, l.User) || !same(got.Proof, l.Proof) || !same(got.Database, l.Database) || !same(got.Plugin, l.Plugin) ||
		!same(got.Attrs, l.Attrs) || got.Charset != l.Charset {
		t.Errorf("written and read again: %s", cmp.Diff(*l, got))
	}
}

func FuzzAuthPackets(f *testing.F) {
	seedPayloads(f, "login-switch", "login-ed25519", "login-denied")
	f.Fuzz(func(t *testing.T, b []byte, _ uint64) {
		AuthStepOf(b)
		if data, err := ParseAuthMore(b); err == nil {
			if again := AppendAuthMore(nil, data...); !bytes.Equal(again, b) {
				t.Errorf("AuthMoreData %x became %x", b, again)
			}
		}
		if s, err := ParseAuthSwitch(b); err == nil {
			again, err := ParseAuthSwitch(AppendAuthSwitch(nil, string(s.Plugin), s.Data))
			if diff := cmp.Diff(s, again); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		if password, err := ClearPassword(b); err == nil {
			if again := AppendClearPassword(nil, string(password)); !bytes.Equal(again, b) {
				t.Errorf("password %x became %x", b, again)
			}
		}
		if _, err := ParsePublicKey(b); err == nil && !bytes.Contains(b, []byte("-----BEGIN")) {
			t.Errorf("%q is a public key", b)
		}
		if e, err := ParseERR(b); err == nil {
			// Its own words cut ours at a bound, and one without SQLSTATE may look like one.
			if want := 3 + len(e.Text); len(b) != want && len(b) != want+6 {
				t.Errorf("ERR of %d bytes has a text of %d", len(b), len(e.Text))
			}
		}
	})
}

func FuzzOK(f *testing.F) {
	seedPayloads(f, "trackers", "query-full", "query-plain")
	f.Fuzz(func(t *testing.T, b []byte, c uint64) {
		caps := Caps(c)
		if ok, err := ParseOK(b, caps); err == nil {
			again, err := ParseOK(AppendOK(nil, &ok, caps), caps)
			if !caps.Has(CapSessionTrack) || len(ok.Track) == 0 {
				ok.Status &^= StatusSessionChanged
				ok.Track = nil
			}
			if len(ok.Info) == 0 {
				ok.Info, again.Info = nil, nil
			}
			if diff := cmp.Diff(ok, again); err != nil || diff != "" {
				t.Error(err, diff)
			}
			walk(t, ok.Track)
		}
		if ok, err := ParseEOF(b, caps); err == nil {
			if again, err := ParseEOF(AppendEOF(nil, &ok, caps), caps); err != nil || again.Status|StatusSessionChanged != ok.Status|StatusSessionChanged {
				t.Error(again, err)
			}
		}
		walk(t, b)
	})
}

// walk goes through session-track data, which is never longer than what it is made of.
func walk(t *testing.T, data []byte) {
	t.Helper()
	steps := 0
	for tr := (Tracks{Data: data}); tr.Next(); steps++ {
		if len(tr.Name)+len(tr.Value) > len(data) || steps > len(data) {
			t.Fatalf("step %d: %d and %d bytes of %d", steps, len(tr.Name), len(tr.Value), len(data))
		}
	}
}

// FuzzResponse holds that an answer, of whatever bytes, is judged the same in
// pieces of any size, that no more is taken than was given, and that Translate
// between equal capabilities sees the same events and keeps the bytes.
func FuzzResponse(f *testing.F) {
	for _, name := range stories {
		s := readStory(f, name)
		for _, e := range s.exchanges(f) {
			f.Add(uint8(e.cmds[0]), uint64(s.caps), bytes.Join(e.parts, nil), uint8(3))
		}
	}
	f.Add(uint8(ComQuery), uint64(fullCaps), frames("\x01", definition, "\xfe", eofAsOK), uint8(1))
	f.Fuzz(func(t *testing.T, cmd uint8, c uint64, b []byte, step uint8) {
		caps := Caps(c)
		whole, wholeErr := runResponse(t, Command(cmd), caps, b, len(b)+1)
		pieces, piecesErr := runResponse(t, Command(cmd), caps, b, int(step)+1)
		if !slices.Equal(whole, pieces) || (wholeErr == nil) != (piecesErr == nil) {
			t.Fatalf("whole: %v, %v\nin pieces of %d: %v, %v", whole, wholeErr, int(step)+1, pieces, piecesErr)
		}
		for _, client := range []Caps{caps, caps ^ CapDeprecateEOF, caps &^ CapSessionTrack, caps &^ (CapSessionTrack | CapDeprecateEOF)} {
			runTranslate(t, Command(cmd), caps, client, b, whole, wholeErr)
		}
	})
}

type seen struct {
	ev       Event
	taken    int
	by       By
	status   Status
	affected uint64
	code     Code
}

func runResponse(t *testing.T, cmd Command, caps Caps, b []byte, step int) (events []seen, err error) {
	var r Response
	r.Start(cmd, 1, caps)
	taken, fed := 0, 0
	for {
		n, ev, err := r.Scan(b[taken:fed:fed])
		if n < 0 || n > fed-taken {
			t.Fatalf("took %d of %d bytes", n, fed-taken)
		}
		taken += n
		if err != nil {
			return events, err
		}
		if ev == EventNone {
			if fed-taken >= HeaderLen+MaxHeld {
				t.Fatalf("%d bytes are held", fed-taken)
			}
			if fed == len(b) {
				return events, nil
			}
			fed = min(fed+step, len(b))
			continue
		}
		events = append(events, seen{ev, taken, r.By, r.OK.Status, r.OK.Affected, r.ERR.Code})
		walk(t, r.OK.Track)
		if ev == EventEnd {
			if !r.Ended() {
				t.Fatal("at the end it says that it is not")
			}
			return events, nil
		}
		if len(events) > len(b) {
			t.Fatal("more events than bytes")
		}
	}
}

func runTranslate(t *testing.T, cmd Command, caps, client Caps, b []byte, want []seen, wantErr error) {
	var tr Translate
	tr.Start(cmd, 1, caps, client, 0)
	var out []byte
	at := 0
	var got []Event
	for {
		var n int
		var ev Event
		var err error
		out, n, ev, err = tr.Append(out, b[at:])
		at += n
		if (err != nil) && wantErr == nil {
			t.Fatalf("only Translate says %v", err)
		}
		if err != nil || ev == EventNone {
			break
		}
		if got = append(got, ev); ev == EventEnd {
			break
		}
	}
	if !slices.EqualFunc(got, want, func(ev Event, s seen) bool { return ev == s.ev }) {
		t.Fatalf("Translate sees %v, Response %+v", got, want)
	}
	if len(got) == 0 || got[len(got)-1] != EventEnd || slices.Contains(got, EventInfile) || slices.Contains(got, EventAuth) || tr.Partial {
		return
	}
	// What the client got ends where its own reading of it ends, with as many results.
	var r Response
	r.Start(cmd, 1, client|caps&CapLocalFiles)
	rest, i := out, 0
	for {
		n, ev, err := r.Scan(rest)
		if rest = rest[n:]; err != nil || i >= len(got) || ev != got[i] {
			t.Fatalf("the client sees event %d (%v) in %x, translated from %x by %s for %s", ev, err, out, b[:at], caps, client)
		}
		if i++; ev == EventEnd {
			break
		}
	}
	if len(rest) > 0 {
		t.Fatalf("%d bytes behind the end for the client: %x", len(rest), out)
	}
}

func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x0e"), uint8(1))
	f.Add([]byte("\x00\x00\x00\x00"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		var whole, pieces Packet
		whole.Start(0)
		n, done, err := whole.Scan(b)
		pieces.Start(0)
		taken := 0
		for fed := 0; ; fed = min(fed+int(step)+1, len(b)) {
			k, d, e := pieces.Scan(b[taken:fed])
			if taken += k; d || e != nil || fed == len(b) {
				if d != done || (e == nil) != (err == nil) || taken != n || pieces.Len() != whole.Len() {
					t.Fatalf("whole: %d, %v, %v; in pieces: %d, %v, %v", n, done, err, taken, d, e)
				}
				break
			}
		}
		if WholeFrames(b) > len(b) {
			t.Fatal("more than there is")
		}
	})
}
