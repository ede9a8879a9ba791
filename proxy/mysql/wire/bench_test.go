package wire

import (
	"strings"
	"testing"
)

func BenchmarkRows(b *testing.B) {
	for _, test := range []struct {
		name string
		row  string
	}{{"short", "\x0212\x04name"}, {"200 bytes", "\xc8" + strings.Repeat("x", 200)}} {
		b.Run(test.name, func(b *testing.B) {
			const count = 200
			payloads := []string{"\x01", definition}
			for range count {
				payloads = append(payloads, test.row)
			}
			answer := frames(append(payloads, eofAsOK)...)
			b.SetBytes(int64(len(answer)))
			var r Response
			for b.Loop() {
				r.Start(ComQuery, 1, fullCaps)
				if _, ev, err := r.Scan(answer); ev != EventEnd || err != nil {
					b.Fatal(ev, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/row")
		})
	}
}

func BenchmarkOK(b *testing.B) {
	answer := frames(okPacket)
	var r Response
	for b.Loop() {
		r.Start(ComQuery, 1, fullCaps)
		if _, ev, err := r.Scan(answer); ev != EventEnd || err != nil {
			b.Fatal(ev, err)
		}
	}
}

func BenchmarkVerifyNative(b *testing.B) {
	nonce, key := NewNonce(), NewNativeKey("secret")
	proof, hash := key.Proof(nonce[:]), key.Hash()
	for b.Loop() {
		if _, ok := VerifyNative(proof, nonce[:], hash); !ok {
			b.Fatal("refused")
		}
	}
}
