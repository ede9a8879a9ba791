package http1

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type seenResponse struct {
	Status           int
	Minor            uint8
	Reason           string
	Fields           []string
	ContentLength    int64
	Chunked          bool
	Body             BodyKind
	KeepAlive        bool
	KeepAliveTimeout time.Duration
	HeadLen          int
}

func seeResponse(r *Response, b []byte) seenResponse {
	return seenResponse{
		Status: r.Status, Minor: r.Minor, Reason: string(r.Reason.of(b)), Fields: seeFields(r.Fields, b),
		ContentLength: r.ContentLength, Chunked: r.Chunked, Body: r.Body, KeepAlive: r.KeepAlive,
		KeepAliveTimeout: r.KeepAliveTimeout, HeadLen: r.HeadLen,
	}
}

func parseResponse(b []byte, lim Limits, v Verb, upgrade bool) (*Response, bool, *Reject) {
	r := new(Response)
	r.Reset(v, upgrade)
	done, rej := r.Parse(b, lim)
	return r, done, rej
}

func parseResponseSlowly(b []byte, lim Limits, v Verb, upgrade bool) (*Response, bool, *Reject) {
	r := new(Response)
	r.Reset(v, upgrade)
	for i := range len(b) + 1 {
		if done, rej := r.Parse(b[:i], lim); done || rej != nil {
			return r, done, rej
		}
	}
	return r, false, nil
}

func TestResponseHeadIsAccepted(t *testing.T) {
	for _, test := range []struct {
		name string
		verb Verb
		head string
		want func(*seenResponse)
	}{
		{"plain", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 3"), func(*seenResponse) {}},
		{"no reason", VerbGET, crlf("HTTP/1.1 200 ", "Content-Length: 3"), func(s *seenResponse) { s.Reason = "" }},
		{"no reason and no space", VerbGET, crlf("HTTP/1.1 200", "Content-Length: 3"), func(s *seenResponse) { s.Reason = "" }},
		{"reason of any bytes", VerbGET, crlf("HTTP/1.1 200 \t tr\xe8s bien ", "Content-Length: 3"), func(s *seenResponse) { s.Reason = "\t tr\xe8s bien " }},
		{"value with obs-text", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "X: \xff"), func(*seenResponse) {}},
		{"1.0 until close", VerbGET, crlf("HTTP/1.0 200 OK"), func(s *seenResponse) { s.Minor, s.ContentLength, s.Body, s.KeepAlive = 0, -1, BodyUntilClose, false }},
		{"1.0 with length", VerbGET, crlf("HTTP/1.0 200 OK", "Content-Length: 3"), func(s *seenResponse) { s.Minor, s.KeepAlive = 0, false }},
		{"1.0 keep-alive", VerbGET, crlf("HTTP/1.0 200 OK", "Content-Length: 3", "Connection: Keep-Alive"), func(s *seenResponse) { s.Minor = 0 }},
		{"1.0 keep-alive until close", VerbGET, crlf("HTTP/1.0 200 OK", "Connection: keep-alive"), func(s *seenResponse) { s.Minor, s.ContentLength, s.Body, s.KeepAlive = 0, -1, BodyUntilClose, false }},
		{"1.1 until close", VerbGET, crlf("HTTP/1.1 200 OK"), func(s *seenResponse) { s.ContentLength, s.Body, s.KeepAlive = -1, BodyUntilClose, false }},
		{"1.1 close", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: x, Close"), func(s *seenResponse) { s.KeepAlive = false }},
		{"empty body", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 0"), func(s *seenResponse) { s.ContentLength = 0 }},
		{"chunked", VerbGET, crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), func(s *seenResponse) { s.ContentLength, s.Chunked, s.Body = -1, true, BodyChunked }},
		{"HEAD with length", VerbHEAD, crlf("HTTP/1.1 200 OK", "Content-Length: 3"), func(s *seenResponse) { s.Body = BodyNone }},
		{"HEAD with chunked", VerbHEAD, crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"), func(s *seenResponse) { s.ContentLength, s.Chunked, s.Body = -1, true, BodyNone }},
		{"HEAD without framing keeps open", VerbHEAD, crlf("HTTP/1.1 200 OK"), func(s *seenResponse) { s.ContentLength, s.Body = -1, BodyNone }},
		{"204", VerbGET, crlf("HTTP/1.1 204 OK", "Content-Length: 3"), func(s *seenResponse) { s.Status, s.Body = 204, BodyNone }},
		{"304", VerbGET, crlf("HTTP/1.1 304 OK", "Content-Length: 3"), func(s *seenResponse) { s.Status, s.Body = 304, BodyNone }},
		{"103", VerbGET, crlf("HTTP/1.1 103 OK", "Link: </a>"), func(s *seenResponse) { s.Status, s.ContentLength, s.Body = 103, -1, BodyNone }},
		{"599", VerbGET, crlf("HTTP/1.1 599 OK", "Content-Length: 3"), func(s *seenResponse) { s.Status = 599 }},
		{"keep-alive timeout", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Keep-Alive: max=100, Timeout=5"), func(s *seenResponse) { s.KeepAliveTimeout = 5 * time.Second }},
		{"keep-alive timeout that makes no sense", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Keep-Alive: timeout=5s"), func(*seenResponse) {}},
		{"keep-alive timeout beyond a day", VerbGET, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Keep-Alive: timeout=9223372036854775807"), func(*seenResponse) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := []byte(test.head + "abc")
			r, done, rej := parseResponse(b, testLimits, test.verb, false)
			if !done || rej != nil {
				t.Fatalf("done %v, %v", done, rej)
			}
			got := seeResponse(r, b)
			want := seenResponse{Status: 200, Minor: 1, Reason: "OK", Fields: got.Fields, ContentLength: 3,
				Body: BodyLength, KeepAlive: true, HeadLen: len(test.head)}
			test.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			slow, _, rej := parseResponseSlowly(b, testLimits, test.verb, false)
			if rej != nil {
				t.Fatal("byte by byte:", rej)
			}
			if diff := cmp.Diff(got, seeResponse(slow, b)); diff != "" {
				t.Error("byte by byte:", diff)
			}
		})
	}
}

func TestResponseHeadIsRefused(t *testing.T) {
	ok := func(lines ...string) string { return crlf(append([]string{"HTTP/1.1 200 OK"}, lines...)...) }
	switching := func(lines ...string) string {
		return crlf(append([]string{"HTTP/1.1 101 Switching Protocols"}, lines...)...)
	}
	for _, test := range []struct {
		name, head string
		want       *Reject
	}{
		{"another protocol", "SSH-2.0-OpenSSH_9.2p1", rejectStatusLine},
		{"MySQL greeting", "J\x00\x00\x00\n5.7", rejectStatusLine},
		{"empty line before", "\r\n" + ok(), rejectStatusLine},
		{"HTTP/1.2", crlf("HTTP/1.2 200 OK"), rejectStatusLine},
		{"HTTP/2.0", crlf("HTTP/2.0 200 OK"), rejectStatusLine},
		{"lower case", crlf("http/1.1 200 OK"), rejectStatusLine},
		{"status 99", crlf("HTTP/1.1 099 OK"), rejectStatusLine},
		{"status 600", crlf("HTTP/1.1 600 OK"), rejectStatusLine},
		{"status of two digits", crlf("HTTP/1.1 20 OK"), rejectStatusLine},
		{"status of four digits", crlf("HTTP/1.1 2000 OK"), rejectStatusLine},
		{"status with sign", crlf("HTTP/1.1 +20 OK"), rejectStatusLine},
		{"two spaces", crlf("HTTP/1.1  200 OK"), rejectStatusLine},
		{"version alone", crlf("HTTP/1.1"), rejectStatusLine},
		{"control byte in reason", crlf("HTTP/1.1 200 O\x00K"), rejectStatusLine},
		{"CR in reason", crlf("HTTP/1.1 200 O\rK"), rejectStatusLine},
		{"bare LF after status line", "HTTP/1.1 200 OK\nX: y\r\n\r\n", rejectStatusLine},
		{"bare LF after field", "HTTP/1.1 200 OK\r\nX: y\n\r\n", rejectResponseField},
		{"bare LF ends head", "HTTP/1.1 200 OK\r\n\n", rejectResponseField},
		{"fold", ok("X: a", " b"), rejectResponseField},
		{"space before colon", ok("X : a"), rejectResponseField},
		{"no colon", ok("X"), rejectResponseField},
		{"NUL in value", ok("X: \x00"), rejectResponseField},
		{"CR in value", ok("X: a\rb"), rejectResponseField},
		{"both framings", ok("Content-Length: 1", "Transfer-Encoding: chunked"), rejectResponseFraming},
		{"both framings with 204", crlf("HTTP/1.1 204 OK", "Transfer-Encoding: chunked", "Content-Length: 1"), rejectResponseFraming},
		{"content-length twice, the same", ok("Content-Length: 1", "Content-Length: 1"), rejectResponseFraming},
		{"content-length twice", ok("Content-Length: 1", "Content-Length: 2"), rejectResponseFraming},
		{"content-length list", ok("Content-Length: 1,1"), rejectResponseFraming},
		{"content-length with sign", ok("Content-Length: -1"), rejectResponseFraming},
		{"gzip, chunked", ok("Transfer-Encoding: gzip, chunked"), rejectResponseFraming},
		{"identity", ok("Transfer-Encoding: identity"), rejectResponseFraming},
		{"chunked twice", ok("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), rejectResponseFraming},
		{"chunked with 1.0", crlf("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), rejectResponseFraming},
		{"ten connection options", ok("Connection: a,b,c,d,e,f,g,h,i,j"), rejectResponseConnection},
		{"connection names content-length", ok("Connection: content-length", "Content-Length: 1"), rejectResponseConnection},
		{"101 unasked", switching("Connection: upgrade", "Upgrade: websocket"), rejectResponseUpgrade},
		{"129 fields", ok(strings.TrimSuffix(strings.Repeat("X: y\r\n", 129), "\r\n")), rejectResponseFields},
		{"large head", ok("X: " + strings.Repeat("a", 4096)), rejectResponseHeader},
		{"large head, not whole", "HTTP/1.1 200 " + strings.Repeat("a", 4096), rejectResponseHeader},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, done, rej := parseResponse([]byte(test.head), testLimits, VerbGET, false)
			if done || rej != test.want {
				t.Errorf("done %v, got %+v, want %+v", done, rej, test.want)
			}
			_, done, rej = parseResponseSlowly([]byte(test.head), testLimits, VerbGET, false)
			if done || rej != test.want {
				t.Errorf("byte by byte: done %v, got %+v, want %+v", done, rej, test.want)
			}
		})
	}
}

func TestResponseRejectsBlameTheBackend(t *testing.T) {
	for _, rej := range rejects {
		if backend := strings.HasPrefix(rej.Reason, "bad_response_"); backend != (rej.Status == 502) {
			t.Errorf("%s: status %d", rej.Reason, rej.Status)
		}
	}
}

func TestSwitchingProtocolsNeedsAHandshake(t *testing.T) {
	whole := crlf("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: WebSocket")
	r, done, rej := parseResponse([]byte(whole), testLimits, VerbGET, true)
	if !done || rej != nil || r.KeepAlive || r.Interim() || r.Body != BodyNone {
		t.Errorf("done %v, %v, %+v", done, rej, r)
	}
	for _, head := range []string{
		crlf("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"),
		crlf("HTTP/1.1 101 Switching Protocols", "Connection: upgrade"),
		crlf("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: h2c"),
		crlf("HTTP/1.0 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"),
	} {
		if _, _, rej := parseResponse([]byte(head), testLimits, VerbGET, true); rej != rejectResponseUpgrade {
			t.Errorf("%q: %v", head, rej)
		}
	}
	refused := crlf("HTTP/1.1 403 Forbidden", "Content-Length: 3")
	if r, _, rej := parseResponse([]byte(refused), testLimits, VerbGET, true); rej != nil || r.Body != BodyLength || !r.KeepAlive {
		t.Errorf("a refused handshake is an ordinary response: %v, %+v", rej, r)
	}
}

func TestInterimResponsesAreFollowed(t *testing.T) {
	b := []byte(crlf("HTTP/1.1 100 Continue") + crlf("HTTP/1.1 103 Early Hints", "Link: </a>") + crlf("HTTP/1.1 200 OK", "Content-Length: 0"))
	r := new(Response)
	var got []int
	for {
		r.Reset(VerbPOST, false)
		if done, rej := r.Parse(b, testLimits); !done || rej != nil {
			t.Fatal(done, rej)
		}
		got, b = append(got, r.Status), b[r.HeadLen:]
		if !r.Interim() {
			break
		}
	}
	if diff := cmp.Diff([]int{100, 103, 200}, got); diff != "" || len(b) != 0 {
		t.Error(diff, len(b))
	}
}
