package http1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

const testTrailer = 1024

// dechunk feeds body in steps of step bytes the way a session does: what was
// not consumed stays before what comes next.
func dechunk(body string, step int, response bool) (data, trailer string, rest int, done bool, rej *Reject) {
	var c Chunked
	c.Start(response, testTrailer)
	var buf []byte
	for fed := 0; ; {
		for {
			piece, n, end, bad := c.Next(buf)
			data += string(piece)
			if end || bad != nil {
				if end {
					trailer = string(c.Trailer().of(buf))
				}
				return data, trailer, len(body) - fed + len(buf) - n, end, bad
			}
			if buf = buf[n:]; n == 0 {
				break
			}
		}
		if fed == len(body) {
			return data, "", 0, false, nil
		}
		n := min(step, len(body)-fed)
		buf = append(bytes.Clone(buf), body[fed:fed+n]...)
		fed += n
	}
}

func TestChunkedBodyIsDecoded(t *testing.T) {
	for _, test := range []struct{ name, body, data, trailer string }{
		{"empty", "0\r\n\r\n", "", ""},
		{"one chunk", "3\r\nabc\r\n0\r\n\r\n", "abc", ""},
		{"chunks", "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", "abcd", ""},
		{"hex of both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", ""},
		{"CRLF in data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", ""},
		{"leading zeros", "0000000000000003\r\nabc\r\n000\r\n\r\n", "abc", ""},
		{"extensions", "3;a;b=c;d=\"e \\\" \xff;\t\"\r\nabc\r\n0;x\r\n\r\n", "abc", ""},
		{"trailer", "1\r\na\r\n0\r\nX-Sum: 1\r\nServer-Timing: a\r\n\r\n", "a", "X-Sum: 1\r\nServer-Timing: a\r\n"},
		{"extensions of 200 bytes in each of two chunks", strings.Repeat("1;"+strings.Repeat("a", 199)+"\r\na\r\n", 2) + "0\r\n\r\n", "aa", ""},
		{"extension of 256 bytes", "1;" + strings.Repeat("a", 255) + "\r\na\r\n0\r\n\r\n", "a", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for step := 1; step <= len(test.body)+4; step++ {
				data, trailer, rest, done, rej := dechunk(test.body+"next", step, false)
				if !done || data != test.data || trailer != test.trailer || rest != 4 {
					t.Errorf("step %d: %q, %q, %d left, done %v, %v", step, data, trailer, rest, done, rej)
				}
			}
		})
	}
}

func TestChunkedBodyIsRefused(t *testing.T) {
	size := func(s string) string { return s + "\r\nabc\r\n0\r\n\r\n" }
	end := func(s string) string { return "3\r\nabc\r\n0\r\n" + s + "\r\n\r\n" }
	for _, test := range []struct {
		name, body string
		request    *Reject
		response   *Reject
	}{
		{"no size", size(""), rejectChunk, rejectResponseChunk},
		{"space before size", size(" 3"), rejectChunk, rejectResponseChunk},
		{"space behind size", size("3 "), rejectChunk, rejectResponseChunk},
		{"tab behind size", size("3\t"), rejectChunk, rejectResponseChunk},
		{"0x", size("0x3"), rejectChunk, rejectResponseChunk},
		{"plus", size("+3"), rejectChunk, rejectResponseChunk},
		{"minus", size("-3"), rejectChunk, rejectResponseChunk},
		{"underscore", size("0_3"), rejectChunk, rejectResponseChunk},
		{"17 digits", size("00000000000000003"), rejectChunk, rejectResponseChunk},
		{"2^63", size("8000000000000000"), rejectChunk, rejectResponseChunk},
		{"2^64 + 3 in 17 digits", size("10000000000000003"), rejectChunk, rejectResponseChunk},
		{"bare LF behind size", "3\nabc\r\n0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"bare CR behind size", "3\rabc\r\n0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"two CRs behind size", "3\r\r\nabc\r\n0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"data too long", "3\r\nabcd\r\n0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"data too short", "3\r\nab\r\n0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"bare LF behind data", "3\r\nabc\n0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"CR alone behind data", "3\r\nabc\r0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"nothing behind data", "3\r\nabc0\r\n\r\n", rejectChunk, rejectResponseChunk},
		{"bare semicolon", size("3;"), rejectChunk, rejectResponseChunk},
		{"two semicolons", size("3;;a"), rejectChunk, rejectResponseChunk},
		{"space before extension", size("3 ;a"), rejectChunk, rejectResponseChunk},
		{"space in extension", size("3; a"), rejectChunk, rejectResponseChunk},
		{"extension without value", size("3;a="), rejectChunk, rejectResponseChunk},
		{"control byte in extension", size("3;a\x01"), rejectChunk, rejectResponseChunk},
		{"NUL in quoted extension", size("3;a=\"\x00\""), rejectChunk, rejectResponseChunk},
		{"LF in extension", size("3;a\nb"), rejectChunk, rejectResponseChunk},
		{"CRLF in quoted extension", size("3;a=\"\r\n\""), rejectChunk, rejectResponseChunk},
		{"escaped control byte", size("3;a=\"\\\x01\""), rejectChunk, rejectResponseChunk},
		{"text behind quoted extension", size("3;a=\"b\"c"), rejectChunk, rejectResponseChunk},
		{"extension of 257 bytes", size("3;" + strings.Repeat("a", 256)), rejectChunk, rejectResponseChunk},
		{"extensions of 16385 bytes", strings.Repeat("1;"+strings.Repeat("a", 255)+"\r\nx\r\n", 65), rejectChunk, rejectResponseChunk},
		{"trailer with fold", end("X: a\r\n b"), rejectTrailer, rejectResponseTrailer},
		{"trailer with bare LF", end("X: a\nY: b"), rejectTrailer, rejectResponseTrailer},
		{"trailer without colon", end("X"), rejectTrailer, rejectResponseTrailer},
		{"trailer with NUL", end("X: \x00"), rejectTrailer, rejectResponseTrailer},
		{"bare LF for the empty line", "0\r\n\n", rejectTrailer, rejectResponseTrailer},
		{"trailer content-length", end("Content-Length: 3"), rejectTrailer, rejectResponseTrailer},
		{"trailer transfer-encoding", end("transfer-encoding: chunked"), rejectTrailer, rejectResponseTrailer},
		{"trailer content_length", end("Content_Length: 3"), rejectTrailer, rejectResponseTrailer},
		{"trailer host", end("Host: a"), rejectTrailer, rejectResponseTrailer},
		{"trailer connection", end("Connection: close"), rejectTrailer, rejectResponseTrailer},
		{"trailer authorization", end("Authorization: x"), rejectTrailer, rejectResponseTrailer},
		{"trailer cookie", end("Cookie: x"), rejectTrailer, rejectResponseTrailer},
		{"trailer set-cookie", end("Set-Cookie: x"), rejectTrailer, rejectResponseTrailer},
		{"trailer content-type", end("Content-Type: x"), rejectTrailer, rejectResponseTrailer},
		{"trailer cache-control", end("Cache-Control: x"), rejectTrailer, rejectResponseTrailer},
		{"trailer x-forwarded-for", end("X-Forwarded-For: x"), rejectTrailer, rejectResponseTrailer},
		{"trailer of 129 fields", end("X: y" + strings.Repeat("\r\nX:y", 128)), rejectTrailer, rejectResponseTrailer},
		{"large trailer", end("X: " + strings.Repeat("a", testTrailer)), rejectTrailerSize, rejectResponseTrailer},
		{"large trailer, not whole", "0\r\nX: " + strings.Repeat("a", testTrailer), rejectTrailerSize, rejectResponseTrailer},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 3, 5, len(test.body)} {
				if _, _, _, done, rej := dechunk(test.body, step, false); done || rej != test.request {
					t.Errorf("request, step %d: done %v, %v, want %v", step, done, rej, test.request)
				}
				if _, _, _, done, rej := dechunk(test.body, step, true); done || rej != test.response {
					t.Errorf("response, step %d: done %v, %v, want %v", step, done, rej, test.response)
				}
			}
		})
	}
}

func TestLargestChunkSizeIsCounted(t *testing.T) {
	var c Chunked
	c.Start(false, testTrailer)
	data, n, done, rej := c.Next([]byte("7fffffffffffffff\r\nabc"))
	if string(data) != "abc" || n != 21 || done || rej != nil || c.left != 1<<63-1-3 {
		t.Errorf("%q, %d, %v, %v, %d left", data, n, done, rej, c.left)
	}
}

func TestVerbatimTakesWholePlainChunksOnly(t *testing.T) {
	for _, test := range []struct {
		body string
		n    int
		done bool
	}{
		{"", 0, false},
		{"3\r\nabc\r\n", 8, false},
		{"3\r\nabc\r\n2\r\nab\r\nrest", 15, false},
		{"3\r\nabc\r\n0\r\n\r\nnext", 13, true},
		{"0\r\n\r\n", 5, true},
		{"0\r\n\r", 0, false},
		{"3\r\nabc\r", 0, false},
		{"3\r\nabc", 0, false},
		{"3\r\nabc\r\n4\r\nab", 8, false},
		{"3\r\nabc\r\n4", 8, false},
		{"3\r\nabc\r\n0\r\nX: y\r\n\r\n", 8, false}, // a trailer is Next's
		{"3\r\nabc\r\n3;a\r\nabc\r\n", 8, false},    // so is an extension
		{"00000003\r\nabc\r\n", 15, false},
		{"000000003\r\nabc\r\n", 0, false},
		{"ffffffff\r\nabc\r\n", 0, false},
		{"3\r\nabcd\r\n", 0, false},
		{"3\nabc\r\n", 0, false},
		{"x\r\n", 0, false},
		{"\r\n\r\n", 0, false},
	} {
		var c Chunked
		c.Start(true, testTrailer)
		if n, done := c.Verbatim([]byte(test.body)); n != test.n || done != test.done {
			t.Errorf("%q: %d, %v, want %d, %v", test.body, n, done, test.n, test.done)
		}
		if !test.done {
			continue
		}
		if n, done := c.Verbatim([]byte("next")); n != 0 || !done {
			t.Errorf("%q: not done for good", test.body)
		}
		if data, n, done, rej := c.Next([]byte("next")); data != nil || n != 0 || !done || rej != nil {
			t.Errorf("%q: Next is not done", test.body)
		}
	}
	for _, before := range []string{"1", "1;", "1\r", "5\r\n", "5\r\nab", "2\r\nab", "2\r\nab\r", "0\r\n"} {
		var c Chunked
		c.Start(true, testTrailer)
		c.Next([]byte(before))
		if n, _ := c.Verbatim([]byte("3\r\nabc\r\n")); n != 0 {
			t.Errorf("took %d bytes behind %q", n, before)
		}
	}
}

// relay forwards a body as a session would: whole chunks as they came, all
// else in chunks of its own.
func relay(body string, step int) (out string, done bool, rej *Reject) {
	var c Chunked
	c.Start(true, testTrailer)
	var sent, buf []byte
	for fed := 0; ; {
		for {
			n, end := c.Verbatim(buf)
			sent, buf = append(sent, buf[:n]...), buf[n:]
			if end {
				return string(sent), true, nil
			}
			data, m, end, rej := c.Next(buf)
			if rej != nil {
				return "", false, rej
			}
			if len(data) > 0 {
				sent = AppendChunkHeader(sent, len(data))
				sent = append(append(sent, data...), "\r\n"...)
			}
			if end {
				sent = append(append(sent, "0\r\n"...), c.Trailer().of(buf)...)
				return string(append(sent, "\r\n"...)), true, nil
			}
			if buf = buf[m:]; n+m == 0 {
				break
			}
		}
		if fed == len(body) {
			return "", false, nil
		}
		n := min(step, len(body)-fed)
		buf = append(bytes.Clone(buf), body[fed:fed+n]...)
		fed += n
	}
}

func TestRelayedChunksAreTheSameBody(t *testing.T) {
	for _, body := range []string{
		"0\r\n\r\n",
		"3\r\nabc\r\n0\r\n\r\n",
		"3\r\nabc\r\n0000000000005\r\nhello\r\n2;x=\"y\"\r\n..\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
		"1a\r\nabcdefghijklmnopqrstuvwxyz\r\n3\r\nabc\r\n0;a\r\n\r\n",
	} {
		wantData, wantTrailer, _, _, _ := dechunk(body, len(body), true)
		for step := 1; step <= len(body); step++ {
			out, done, rej := relay(body, step)
			if !done {
				t.Fatalf("%q, step %d: %v", body, step, rej)
			}
			data, trailer, rest, done, rej := dechunk(out, len(out), true)
			if data != wantData || trailer != wantTrailer || rest != 0 || !done || strings.Contains(out, ";") {
				t.Errorf("%q, step %d: sent %q, %v", body, step, out, rej)
			}
		}
	}
}

func TestChunkHeaderIsHex(t *testing.T) {
	for _, n := range []int{1, 9, 10, 15, 16, 255, 256, 4096, 65535, 1 << 20, 1<<31 - 1} {
		if got, want := string(AppendChunkHeader([]byte("x"), n)), fmt.Sprintf("x%x\r\n", n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
