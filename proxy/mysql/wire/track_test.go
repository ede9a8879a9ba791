package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func tracks(data string) (out []string, err error) {
	tr := Tracks{Data: []byte(data)}
	for tr.Next() {
		out = append(out, fmt.Sprintf("%d %s=%s", tr.Kind, tr.Name, tr.Value))
	}
	if tr.Name != nil || tr.Value != nil {
		out = append(out, "something is left over")
	}
	return out, tr.Err
}

func TestTracksAreWalked(t *testing.T) {
	for _, test := range []struct {
		name, data string
		want       []string
	}{
		{"none", "", nil},
		{"variables in one entry and in two", "\x00\x08\x01a\x011\x01b\x012\x00\x03\x01c\x00", []string{"0 a=1", "0 b=2", "0 c="}},
		{"schema", "\x01\x05\x04shop", []string{"1 =shop"}},
		{"state, which has no length of its own", "\x02\x011", []string{"2 =1"}},
		{"GTIDs of MySQL", "\x03\x05\x00\x03a:1", []string{"3 =a:1"}},
		{"GTIDs in an encoding of the future", "\x03\x05\x01\x03a:1\x02\x011", []string{"2 =1"}},
		{"a kind of the future", "\x06\x03abc\xfc\x00\x01\x01x\x01\x05\x04shop", []string{"1 =shop"}},
		{"an empty entry of variables", "\x00\x00\x02\x011", []string{"2 =1"}},
	} {
		got, err := tracks(test.data)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}

func TestMalformedTracksAreAFault(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"no length", "\x01", "entry at byte 1: no length-encoded integer starts there"},
		{"too long", "\x01\x05\x04sho", "entry at byte 2: 4 bytes are left, 5 are needed"},
		{"value longer than its entry", "\x01\x03\x04shop", "value at byte 1: 4 bytes long, the limit is 3"},
		{"a name without a value", "\x00\x02\x01a", "variable's value at byte 2: no length-encoded"},
		{"a good one first", "\x02\x011\x01", "entry at byte 1"},
	} {
		_, err := tracks(test.data)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// The letters are those of the captured story: what is idle in it is.
func TestIdleTransactionIsTold(t *testing.T) {
	s := readStory(t, "trackers")
	idle := make(map[string]bool)
	for _, e := range s.exchanges(t) {
		var r Response
		r.Start(e.cmds[0], 1, s.caps)
		b := e.parts[0]
		for ev := EventNone; ev != EventEnd; {
			n, next, err := r.Scan(b)
			if b, ev = b[n:], next; err != nil || ev == EventNone {
				t.Fatal(ev, err)
			}
			for tr := (Tracks{Data: r.OK.Track}); tr.Next(); {
				if tr.Kind == TrackTrxState {
					idle[e.note] = IdleTransaction(tr.Value)
				}
			}
		}
	}
	for note, want := range map[string]bool{
		"BEGIN": false, "SELECT id FROM t LIMIT 1": false, "ROLLBACK": true, "LOCK TABLES t READ": false, "UNLOCK TABLES": true,
		"START TRANSACTION WITH CONSISTENT SNAPSHOT": false, "COMMIT": true,
	} {
		if got, told := idle[note]; !told || got != want {
			t.Errorf("%s: idle %v, told %v", note, got, told)
		}
	}
	if IdleTransaction(nil) || IdleTransaction([]byte("_________")) {
		t.Error("another form is taken for idle")
	}
}

func TestTheInfoOfAnOKHasALengthOrFillsThePacket(t *testing.T) {
	const caps = CapProtocol41
	for _, b := range []string{okPacket + "\x0aRecords: 2", okPacket + "Records: 2"} {
		ok, err := ParseOK([]byte(b), caps)
		if err != nil || string(ok.Info) != "Records: 2" {
			t.Errorf("%q: info %q, %v", b, ok.Info, err)
		}
		if got := string(AppendOK(nil, &ok, caps)); got != okPacket+"\x0aRecords: 2" {
			t.Errorf("written again it is %q", got)
		}
	}
	if _, err := ParseOK([]byte(okPacket+"Records: 2"), caps|CapSessionTrack); err == nil {
		t.Error("with SESSION_TRACK it is taken without a length")
	}
}
