package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestPacketsOf16MiBAndMoreAreSplitAndFollowed(t *testing.T) {
	for _, size := range []int{0, 1, 5, MaxPayload - 1, MaxPayload, MaxPayload + 1, 2 * MaxPayload} {
		payload := bytes.Repeat([]byte{3}, size)
		b, next := AppendPacket(nil, payload, 7)
		frames := size/MaxPayload + 1
		if want := uint8(7 + frames); next != want {
			t.Errorf("%d bytes: next sequence number %d, want %d", size, next, want)
		}
		if len(b) != size+frames*HeaderLen {
			t.Errorf("%d bytes became %d in %d frames", size, len(b), frames)
		}
		if n := WholeFrames(b); n != len(b) {
			t.Errorf("%d bytes: %d of %d are whole frames", size, n, len(b))
		}
		in, at := BeginPacket([]byte("before"))
		in, end := EndPacket(append(in, payload...), at, 7)
		if end != next || !bytes.Equal(in[len("before"):], b) {
			t.Errorf("%d bytes: EndPacket differs from AppendPacket", size)
		}
		for _, step := range []int{len(b), 1 << 16, 4093} {
			var p Packet
			p.Start(7)
			rest, whole := append(b, "behind"...), false
			held := 0
			for !whole {
				piece := rest[:min(held+step, len(rest))]
				n, done, err := p.Scan(piece)
				if err != nil {
					t.Fatal(err)
				}
				held = len(piece) - n
				if !done && held >= HeaderLen {
					t.Fatalf("%d bytes are left of a piece", held)
				}
				rest, whole = rest[n:], done
			}
			if string(rest) != "behind" || p.Len() != int64(size) || p.Seq() != next {
				t.Errorf("%d bytes in pieces of %d: %d bytes behind, length %d, sequence number %d", size, step, len(rest), p.Len(), p.Seq())
			}
		}
	}
}

func TestPacketRefusesAFrameOutOfTurn(t *testing.T) {
	var p Packet
	p.Start(0)
	_, _, err := p.Scan([]byte("\x01\x00\x00\x05x"))
	var seq *SequenceError
	if !errors.As(err, &seq) || seq.Got != 5 || seq.Want != 0 {
		t.Errorf("got %v", err)
	}
}

func TestFramesAreCutOffOneByOne(t *testing.T) {
	b := []byte("\x02\x00\x00\x00ab\x00\x00\x00\x01\x01\x00\x00\x02c\x05\x00\x00\x03de")
	var got []string
	rest := b
	for {
		h, p, r, ok := NextFrame(rest)
		if !ok {
			break
		}
		if int(h.Seq) != len(got) {
			t.Errorf("sequence number %d, want %d", h.Seq, len(got))
		}
		got, rest = append(got, string(p)), r
	}
	if len(got) != 3 || got[0] != "ab" || got[1] != "" || got[2] != "c" || len(rest) != 6 {
		t.Errorf("got %q and %d bytes", got, len(rest))
	}
	if n := WholeFrames(b); n != len(b)-6 {
		t.Errorf("%d bytes are whole frames, want %d", n, len(b)-6)
	}
}

func TestLenencIntegersAreReadAsWritten(t *testing.T) {
	for _, test := range []struct {
		v   uint64
		enc string
	}{
		{0, "\x00"}, {0xfa, "\xfa"}, {0xfb, "\xfc\xfb\x00"}, {0xff, "\xfc\xff\x00"}, {0xffff, "\xfc\xff\xff"},
		{0x10000, "\xfd\x00\x00\x01"}, {0xffffff, "\xfd\xff\xff\xff"}, {0x1000000, "\xfe\x00\x00\x00\x01\x00\x00\x00\x00"},
		{1<<64 - 1, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff"},
	} {
		if got := string(AppendLenenc(nil, test.v)); got != test.enc {
			t.Errorf("%d is written as %x, want %x", test.v, got, test.enc)
		}
		if v, n := Lenenc([]byte(test.enc + "rest")); v != test.v || n != len(test.enc) {
			t.Errorf("%x is read as %d of %d bytes, want %d", test.enc, v, n, test.v)
		}
		for i := range len(test.enc) {
			if _, n := Lenenc([]byte(test.enc[:i])); n != 0 {
				t.Errorf("%x, of which %d bytes are there, is read", test.enc, i)
			}
		}
	}
	for _, s := range []string{"\xfb", "\xff", "\xff\x00\x00"} {
		if _, n := Lenenc([]byte(s)); n != 0 {
			t.Errorf("%x is read as an integer", s)
		}
	}
}
