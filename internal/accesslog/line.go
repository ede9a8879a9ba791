package accesslog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Line is one request's line while it is made: Start takes what is known when
// the head was read, as the head's bytes do not live to the end, and Finish the
// rest. The zero value is ready, and a Line is used again and again, so that
// lines cost no memory. It is not safe for concurrent use.
type Line struct{ b []byte }

// End is what is known of a request when it is over.
type End struct {
	At      time.Time     // when it ended
	Took    time.Duration // since its first byte
	Status  int           // of the response that the client got at least the beginning of; 0: none
	Bytes   int64         // of that response's body that were sent
	Backend string        // "" where none was chosen
	Reused  bool          // the backend's connection had been idle
	Retries int           // how often it was sent again
	Outcome string        // a status class or a fault's label
}

// Bounds of what a client chooses. A text that is longer is cut, and ends in
// three dots. The default of max_uri is maxPath, so most never see it.
const (
	maxPath   = 8 << 10
	maxHost   = 256
	maxMethod = 32
	maxName   = 64 // of listeners and backends, which hold 63
)

// keepLine is up to where Shrink keeps a Line's memory. A usual line has 300
// bytes, and there is a Line for each client that is being served.
const keepLine = 2 << 10

// The time stands first and is known last, so Start leaves room for it. All
// times are equally long.
const (
	opening = `{"time":"`
	noTime  = `0000-00-00T00:00:00.000000Z`
)

// Start begins a line. The texts are copied, and may hold any bytes.
func (l *Line) Start(listener string, client, method, host, path []byte) {
	b := append(l.b[:0], opening+noTime+`","listener":"`...)
	b = appendText(b, listener, maxName)
	b = append(b, `","client":"`...)
	b = appendText(b, client, maxHost)
	b = append(b, `","method":"`...)
	b = appendText(b, method, maxMethod)
	b = append(b, `","host":"`...)
	b = appendText(b, host, maxHost)
	b = append(b, `","path":"`...)
	b = appendText(b, path, maxPath)
	l.b = append(b, '"')
}

// Finish completes the line and returns it, with its line feed. The bytes are
// the Line's own, and good until the next Start.
func (l *Line) Finish(e End) []byte {
	// The capacity keeps a year of five digits from overwriting what follows.
	appendTime(l.b[len(opening):len(opening):len(opening)+len(noTime)], e.At)
	b := append(l.b, `,"status":`...)
	b = strconv.AppendInt(b, int64(e.Status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, e.Bytes, 10)
	b = append(b, `,"duration":`...)
	b = appendSeconds(b, e.Took)
	b = append(b, `,"backend":"`...)
	b = appendText(b, e.Backend, maxName)
	b = append(b, `","reused":`...)
	b = strconv.AppendBool(b, e.Reused)
	b = append(b, `,"retries":`...)
	b = strconv.AppendInt(b, int64(e.Retries), 10)
	b = append(b, `,"outcome":"`...)
	b = appendText(b, e.Outcome, maxName)
	l.b = append(b, "\"}\n"...)
	return l.b
}

// Shrink gives memory back that an unusual line has taken. It is for the end of
// a run of requests: a client with long paths should not pay for each.
func (l *Line) Shrink() {
	if cap(l.b) > keepLine {
		l.b = nil
	}
}

// appendTime appends t as RFC 3339 has it, in UTC with six digits of the second:
// one form and one length, so that lines sort as they are.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	b = t.AppendFormat(b, time.RFC3339)
	b[len(b)-1] = '.' // it was the Z
	b = appendMicros(b, t.Nanosecond()/1000)
	return append(b, 'Z')
}

// appendSeconds appends d as a number of seconds.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := max(0, d.Microseconds())
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	return appendMicros(b, int(us%1e6))
}

// appendMicros appends six digits.
func appendMicros(b []byte, us int) []byte {
	for n := 100_000; n > 0; n /= 10 {
		b = append(b, byte('0'+us/n%10))
	}
	return b
}

// plain are the bytes that stand for themselves in a JSON string. The others
// are escaped, all beyond ASCII too: whoever looks at the log on a terminal
// must not get control sequences or reversed text from a client.
var plain = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendText appends at most the first most bytes of s as the inside of a JSON
// string. Bytes that are no UTF-8 become U+FFFD each, as in encoding/json.
func appendText[T string | []byte](b []byte, s T, most int) []byte {
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	from := 0 // s[from:i] is plain and not copied yet
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < utf8.RuneSelf:
			b = appendEscape(b, rune(c))
			i++
		default:
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			b = appendEscape(b, r)
			i += n
		}
		from = i
	}
	b = append(b, s[from:]...)
	if cut {
		b = append(b, "..."...)
	}
	return b
}

// appendEscape appends r as \u and four hexadecimal digits, and in two such
// halves where it has more (RFC 8259, section 7).
func appendEscape(b []byte, r rune) []byte {
	if r > 0xffff {
		r -= 0x10000
		b = appendEscape(b, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

const hexDigits = "0123456789abcdef"
