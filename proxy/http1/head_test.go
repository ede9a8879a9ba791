package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testLimits = Limits{MaxHeader: 4096, MaxURI: 256}

// crlf lets tables be read: one line each.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// seenRequest is a Request with its spans resolved.
type seenRequest struct {
	Method, Target, Path, Query, Host string
	Verb                              Verb
	Minor                             uint8
	Fields                            []string // "name|value", "-" before those that are cut
	ContentLength                     int64
	Chunked, KeepAlive                bool
	Expect100, WebSocket              bool
	HeadLen                           int
}

func seeRequest(r *Request, b []byte) seenRequest {
	s := seenRequest{
		Method: string(r.Method.of(b)), Target: string(r.Target.of(b)), Path: string(r.Path.of(b)),
		Query: string(r.Query.of(b)), Host: string(r.Host.of(b)), Verb: r.Verb, Minor: r.Minor,
		Fields: seeFields(r.Fields, b), ContentLength: r.ContentLength, Chunked: r.Chunked,
		KeepAlive: r.KeepAlive, Expect100: r.Expect100, WebSocket: r.WebSocket, HeadLen: r.HeadLen,
	}
	return s
}

func seeFields(fields []Field, b []byte) (out []string) {
	for _, f := range fields {
		s := string(f.Name.of(b)) + "|" + string(f.Value.of(b))
		if f.Cut {
			s = "-" + s
		}
		out = append(out, s)
	}
	return out
}

func parseRequest(b []byte, lim Limits) (*Request, bool, *Reject) {
	r := new(Request)
	r.Reset()
	done, rej := r.Parse(b, lim)
	return r, done, rej
}

// parseRequestSlowly gives Parse one byte more at a time.
func parseRequestSlowly(b []byte, lim Limits) (*Request, bool, *Reject) {
	r := new(Request)
	r.Reset()
	for i := range len(b) + 1 {
		if done, rej := r.Parse(b[:i], lim); done || rej != nil {
			return r, done, rej
		}
	}
	return r, false, nil
}

func TestRequestHeadIsAccepted(t *testing.T) {
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, test := range []struct {
		name string
		head string
		want func(*seenRequest)
	}{
		{"minimal", crlf("GET / HTTP/1.1", "Host: a"), func(*seenRequest) {}},
		{"one empty line before", "\r\n" + crlf("GET / HTTP/1.1", "Host: a"), func(*seenRequest) {}},
		{"two empty lines before", "\r\n\r\n" + crlf("GET / HTTP/1.1", "Host: a"), func(*seenRequest) {}},
		{"any method", crlf("M-SEARCH / HTTP/1.1", "Host: a"), func(s *seenRequest) { s.Method, s.Verb = "M-SEARCH", VerbOther }},
		{"methods are case-sensitive", crlf("get / HTTP/1.1", "Host: a"), func(s *seenRequest) { s.Method, s.Verb = "get", VerbOther }},
		{"method of 32 bytes", crlf(strings.Repeat("M", 32)+" / HTTP/1.1", "Host: a"), func(s *seenRequest) { s.Method, s.Verb = strings.Repeat("M", 32), VerbOther }},
		{"query", crlf("GET /a/b?c=d?e HTTP/1.1", "Host: a"), func(s *seenRequest) { s.Target, s.Path, s.Query = "/a/b?c=d?e", "/a/b", "c=d?e" }},
		{"target bytes browsers send raw", crlf(`GET /"<>[]^{|}`+"`"+`?\ HTTP/1.1`, "Host: a"), func(s *seenRequest) {
			s.Target = `/"<>[]^{|}` + "`" + `?\`
			s.Path, s.Query = `/"<>[]^{|}`+"`", `\`
		}},
		{"bad escapes in the query are data", crlf("GET /%20?%zz% HTTP/1.1", "Host: a"), func(s *seenRequest) { s.Target, s.Path, s.Query = "/%20?%zz%", "/%20", "%zz%" }},
		{"asterisk form", crlf("OPTIONS * HTTP/1.1", "Host: a"), func(s *seenRequest) { s.Method, s.Verb, s.Target, s.Path = "OPTIONS", VerbOPTIONS, "*", "*" }},
		{"absolute form", crlf("GET http://A:80/x?y HTTP/1.1", "Host: a:80"), func(s *seenRequest) {
			s.Target, s.Path, s.Query, s.Host = "http://A:80/x?y", "/x", "y", "a:80"
		}},
		{"absolute form without path", crlf("GET HTTPS://a?y HTTP/1.1", "Host: A"), func(s *seenRequest) {
			s.Target, s.Path, s.Query, s.Host = "HTTPS://a?y", "", "y", "A"
		}},
		{"absolute form with empty host field", crlf("GET http://a/ HTTP/1.1", "Host:"), func(s *seenRequest) { s.Target, s.Host = "http://a/", "a" }},
		{"absolute form, 1.0, no host field", crlf("GET http://a/ HTTP/1.0"), func(s *seenRequest) { s.Target, s.Minor = "http://a/", 0 }},
		{"1.0 without host", crlf("GET / HTTP/1.0"), func(s *seenRequest) { s.Host, s.Minor = "", 0 }},
		{"1.0 keep-alive", crlf("GET / HTTP/1.0", "Connection: Keep-Alive"), func(s *seenRequest) { s.Host, s.Minor, s.KeepAlive = "", 0, true }},
		{"1.0 close wins", crlf("GET / HTTP/1.0", "Connection: keep-alive, close"), func(s *seenRequest) { s.Host, s.Minor, s.KeepAlive = "", 0, false }},
		{"close", crlf("GET / HTTP/1.1", "Host: a", "Connection: Close"), func(s *seenRequest) { s.KeepAlive = false }},
		{"close in a list", crlf("GET / HTTP/1.1", "Host: a", "Connection: ,x , close"), func(s *seenRequest) { s.KeepAlive = false }},
		{"close in the second field", crlf("GET / HTTP/1.1", "Host: a", "Connection: x", "Connection:close"), func(s *seenRequest) { s.KeepAlive = false }},
		{"content-length", crlf("POST / HTTP/1.1", "Host: a", "Content-Length: 12"), func(s *seenRequest) { s.Method, s.Verb, s.ContentLength = "POST", VerbPOST, 12 }},
		{"content-length on GET", crlf("GET / HTTP/1.1", "Host: a", "CONTENT-LENGTH:\t7 "), func(s *seenRequest) { s.ContentLength = 7 }},
		{"largest content-length", crlf("GET / HTTP/1.1", "Host: a", "Content-Length: 9223372036854775807"), func(s *seenRequest) { s.ContentLength = 1<<63 - 1 }},
		{"chunked", crlf("GET / HTTP/1.1", "Host: a", "transfer-encoding: Chunked"), func(s *seenRequest) { s.Chunked = true }},
		{"expect", crlf("GET / HTTP/1.1", "Host: a", "Expect: 100-Continue", "Content-Length: 1"), func(s *seenRequest) { s.Expect100, s.ContentLength = true, 1 }},
		{"expect without body", crlf("GET / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 0"), func(s *seenRequest) { s.ContentLength = 0 }},
		{"expect with 1.0", crlf("GET / HTTP/1.0", "Host: a", "Expect: 100-continue", "Content-Length: 1"), func(s *seenRequest) { s.Minor, s.ContentLength, s.KeepAlive = 0, 1, false }},
		{"host with port", crlf("GET / HTTP/1.1", "Host: Shop.Test.:8080"), func(s *seenRequest) { s.Host = "Shop.Test.:8080" }},
		{"host IPv4", crlf("GET / HTTP/1.1", "Host: 10.0.0.1"), func(s *seenRequest) { s.Host = "10.0.0.1" }},
		{"host IPv6", crlf("GET / HTTP/1.1", "Host: [2001:db8::1]:80"), func(s *seenRequest) { s.Host = "[2001:db8::1]:80" }},
		{"values with tab and obs-text", crlf("GET / HTTP/1.1", "Host: a", "X: a\tb \xff\xfe ", "Y:"), func(*seenRequest) {}},
		{"names of all token characters", crlf("GET / HTTP/1.1", "Host: a", "!#$%&'*+-.^_`|~09Az: v"), func(*seenRequest) {}},
		{"harmless underscores", crlf("GET / HTTP/1.1", "Host: a", "X_Y: v", "my_content_length: v"), func(*seenRequest) {}},
		{"websocket", crlf("GET / HTTP/1.1", "Host: a", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket", key, "Sec-WebSocket-Version: 13"), func(s *seenRequest) { s.WebSocket = true }},
		{"upgrade to something else", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: h2c", key, "Sec-WebSocket-Version: 13"), func(*seenRequest) {}},
		{"upgrade to one of two", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", "Upgrade: x", key, "Sec-WebSocket-Version: 13"), func(*seenRequest) {}},
		{"websocket without connection token", crlf("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", key, "Sec-WebSocket-Version: 13"), func(*seenRequest) {}},
		{"websocket without key", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"), func(*seenRequest) {}},
		{"websocket with short key", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhl", "Sec-WebSocket-Version: 13"), func(*seenRequest) {}},
		{"websocket with two keys", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", key, key, "Sec-WebSocket-Version: 13"), func(*seenRequest) {}},
		{"websocket without version", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", key), func(*seenRequest) {}},
		{"websocket and close", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade, close", "Upgrade: websocket", key, "Sec-WebSocket-Version: 13"), func(s *seenRequest) { s.KeepAlive = false }},
		{"websocket by POST", crlf("POST / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", key, "Sec-WebSocket-Version: 13"), func(s *seenRequest) { s.Method, s.Verb = "POST", VerbPOST }},
		{"websocket with 1.0", crlf("GET / HTTP/1.0", "Host: a", "Connection: upgrade", "Upgrade: websocket", key, "Sec-WebSocket-Version: 13"), func(s *seenRequest) { s.Minor, s.KeepAlive = 0, false }},
		{"websocket with body", crlf("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket", key, "Sec-WebSocket-Version: 13", "Content-Length: 1"), func(s *seenRequest) { s.ContentLength = 1 }},
		{"nine connection options", crlf("GET / HTTP/1.1", "Host: a", "Connection: a,b,c,d,e,f,g,h,i"), func(*seenRequest) {}},
		{"128 fields", crlf("GET / HTTP/1.1", "Host: a"+strings.Repeat("\r\nX: y", 127)), func(*seenRequest) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := []byte(test.head + "next message")
			r, done, rej := parseRequest(b, testLimits)
			if !done || rej != nil {
				t.Fatalf("done %v, %v", done, rej)
			}
			got := seeRequest(r, b)
			want := seenRequest{
				Method: "GET", Target: "/", Path: "/", Host: "a", Verb: VerbGET, Minor: 1, Fields: got.Fields,
				ContentLength: -1, KeepAlive: true, HeadLen: len(test.head),
			}
			if r.Minor == 0 {
				want.KeepAlive = false
			}
			test.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			slow, done, rej := parseRequestSlowly(b, testLimits)
			if !done || rej != nil {
				t.Fatalf("byte by byte: done %v, %v", done, rej)
			}
			if diff := cmp.Diff(got, seeRequest(slow, b)); diff != "" {
				t.Error("byte by byte:", diff)
			}
		})
	}
}

func TestRequestHeadIsRefused(t *testing.T) {
	get := func(lines ...string) string {
		return crlf(append([]string{"GET / HTTP/1.1", "Host: a"}, lines...)...)
	}
	for _, test := range []struct {
		name, head string
		want       *Reject
	}{
		{"three empty lines before", "\r\n\r\n\r\n" + get(), rejectLine},
		{"empty line of LF before", "\n" + get(), rejectBareLF},
		{"white space before", " " + get(), rejectMethod},
		{"TLS client hello", "\x16\x03\x01\x02\x00", rejectMethod},
		{"method of 33 bytes", crlf(strings.Repeat("M", 33)+" / HTTP/1.1", "Host: a"), rejectMethod},
		{"method with colon", crlf("GE:T / HTTP/1.1", "Host: a"), rejectMethod},
		{"method alone", crlf("GET", "Host: a"), rejectMethod},
		{"tab for space", crlf("GET\t/ HTTP/1.1", "Host: a"), rejectMethod},
		{"two spaces before target", crlf("GET  / HTTP/1.1", "Host: a"), rejectLine},
		{"two spaces before version", crlf("GET /  HTTP/1.1", "Host: a"), rejectLine},
		{"space after version", crlf("GET / HTTP/1.1 ", "Host: a"), rejectLine},
		{"HTTP/0.9", crlf("GET /"), rejectLine},
		{"version 0.9", crlf("GET / HTTP/0.9", "Host: a"), rejectVersion},
		{"version 1.2", crlf("GET / HTTP/1.2", "Host: a"), rejectVersion},
		{"version 2.0", crlf("PRI * HTTP/2.0"), rejectVersion},
		{"version in lower case", crlf("GET / http/1.1", "Host: a"), rejectLine},
		{"version 1.10", crlf("GET / HTTP/1.10", "Host: a"), rejectLine},
		{"version 1", crlf("GET / HTTP/1", "Host: a"), rejectLine},
		{"version 1,1", crlf("GET / HTTP/1,1", "Host: a"), rejectLine},
		{"CR in request line", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", rejectLine},
		{"bare LF after request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", rejectBareLF},
		{"bare LF after field", "GET / HTTP/1.1\r\nHost: a\n\r\n", rejectBareLF},
		{"bare LF ends head", "GET / HTTP/1.1\r\nHost: a\r\n\n", rejectBareLF},
		{"CR at the end of a value", get("X: a\r"), rejectBareLF},
		{"CR in a value", get("X: a\rb"), rejectBareLF},
		{"CR in a long value", get("X: 0123456789abcde\rf0123456789"), rejectBareLF},
		{"CR in a name", get("X\rY: a"), rejectBareLF},
		{"CR before the empty line", get("\r"), rejectBareLF},
		{"target with fragment", crlf("GET /#a HTTP/1.1", "Host: a"), rejectTarget},
		{"target with control byte", crlf("GET /\x01 HTTP/1.1", "Host: a"), rejectTarget},
		{"target with tab", crlf("GET /\t HTTP/1.1", "Host: a"), rejectTarget},
		{"target with DEL", crlf("GET /\x7f HTTP/1.1", "Host: a"), rejectTarget},
		{"target with UTF-8", crlf("GET /\u00e9 HTTP/1.1", "Host: a"), rejectTarget},
		{"target with bad escape", crlf("GET /%zz HTTP/1.1", "Host: a"), rejectTarget},
		{"target with cut escape", crlf("GET /%2 HTTP/1.1", "Host: a"), rejectTarget},
		{"target without slash", crlf("GET a HTTP/1.1", "Host: a"), rejectTarget},
		{"target with other scheme", crlf("GET ftp://a/ HTTP/1.1", "Host: a"), rejectTarget},
		{"absolute target without host", crlf("GET http:///x HTTP/1.1", "Host: a"), rejectTarget},
		{"absolute target that ends early", crlf("GET http:// HTTP/1.1", "Host: a"), rejectTarget},
		{"absolute target with userinfo", crlf("GET http://u@a/ HTTP/1.1", "Host: a"), rejectTarget},
		{"absolute target with another host", crlf("GET http://b/ HTTP/1.1", "Host: a"), rejectHost},
		{"absolute target with another port", crlf("GET http://a:80/ HTTP/1.1", "Host: a"), rejectHost},
		{"absolute target without host field", crlf("GET http://a/ HTTP/1.1"), rejectHost},
		{"asterisk with GET", crlf("GET * HTTP/1.1", "Host: a"), rejectTarget},
		{"asterisk with query", crlf("OPTIONS *?a HTTP/1.1", "Host: a"), rejectTarget},
		{"CONNECT", crlf("CONNECT a:443 HTTP/1.1", "Host: a:443"), rejectConnect},
		{"authority form", crlf("GET a:443 HTTP/1.1", "Host: a:443"), rejectTarget},
		{"long target", crlf("GET /"+strings.Repeat("a", 256)+" HTTP/1.1", "Host: a"), rejectURI},
		{"long target, not whole", "GET /" + strings.Repeat("a", 256), rejectURI},
		{"no host", crlf("GET / HTTP/1.1"), rejectHost},
		{"two hosts", get("Host: a"), rejectHost},
		{"empty host", crlf("GET / HTTP/1.1", "Host: "), rejectHost},
		{"empty host with 1.0", crlf("GET / HTTP/1.0", "Host: "), rejectHost},
		{"host with userinfo", crlf("GET / HTTP/1.1", "Host: u@a"), rejectHost},
		{"host with space", crlf("GET / HTTP/1.1", "Host: a b"), rejectHost},
		{"host with comma", crlf("GET / HTTP/1.1", "Host: a,b"), rejectHost},
		{"host with path", crlf("GET / HTTP/1.1", "Host: a/b"), rejectHost},
		{"host with obs-text", crlf("GET / HTTP/1.1", "Host: a\xe9"), rejectHost},
		{"host with control byte", crlf("GET / HTTP/1.1", "Host: a\x01"), rejectValue},
		{"port that is no number", crlf("GET / HTTP/1.1", "Host: a:b"), rejectHost},
		{"empty port", crlf("GET / HTTP/1.1", "Host: a:"), rejectHost},
		{"port 0", crlf("GET / HTTP/1.1", "Host: a:0"), rejectHost},
		{"port 65536", crlf("GET / HTTP/1.1", "Host: a:65536"), rejectHost},
		{"two ports", crlf("GET / HTTP/1.1", "Host: a:1:2"), rejectHost},
		{"IPv6 without brackets", crlf("GET / HTTP/1.1", "Host: ::1"), rejectHost},
		{"IPv6 with zone", crlf("GET / HTTP/1.1", "Host: [fe80::1%eth0]"), rejectHost},
		{"open bracket", crlf("GET / HTTP/1.1", "Host: [::1"), rejectHost},
		{"text behind bracket", crlf("GET / HTTP/1.1", "Host: [::1]a"), rejectHost},
		{"host with empty label", crlf("GET / HTTP/1.1", "Host: a..b"), rejectHost},
		{"host that starts with a dot", crlf("GET / HTTP/1.1", "Host: .a"), rejectHost},
		{"folded field", get("X: a", " b"), rejectFold},
		{"folded first field", crlf("GET / HTTP/1.1", " Host: a"), rejectFold},
		{"folded transfer-encoding", get("Transfer-Encoding:", "\tchunked"), rejectFold},
		{"space before colon", get("X : a"), rejectName},
		{"tab before colon", get("X\t: a"), rejectName},
		{"space in name", get("X Y: a"), rejectName},
		{"NUL in name", get("X\x00: a"), rejectName},
		{"obs-text in name", get("X\xe9: a"), rejectName},
		{"empty name", get(": a"), rejectName},
		{"pseudo-header", get(":path: /"), rejectName},
		{"no colon", get("X"), rejectColon},
		{"NUL in value", get("X: a\x00b"), rejectValue},
		{"escape in value", get("X: \x1b[0m"), rejectValue},
		{"DEL in long value", get("X: 0123456789abcdef\x7f0123456789"), rejectValue},
		{"NUL behind a tab", get("X: 01\t3456\x00"), rejectValue},
		{"content-length and transfer-encoding", get("Content-Length: 1", "Transfer-Encoding: chunked"), rejectBoth},
		{"transfer-encoding and content-length", get("Transfer-Encoding: chunked", "Content-Length: 0"), rejectBoth},
		{"content-length and unknown coding", get("Transfer-Encoding: identity", "Content-Length: 1"), rejectBoth},
		{"transfer-encoding with 1.0", crlf("POST / HTTP/1.0", "Transfer-Encoding: chunked"), rejectCoding},
		{"chunked twice in a list", get("Transfer-Encoding: chunked, chunked"), rejectCoding},
		{"chunked first in a list", get("Transfer-Encoding: chunked, gzip"), rejectCoding},
		{"chunked in two fields", get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), rejectCoding},
		{"codings in two fields", get("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), rejectCoding},
		{"empty transfer-encoding", get("Transfer-Encoding:"), rejectCoding},
		{"comma behind chunked", get("Transfer-Encoding: chunked,"), rejectCoding},
		{"comma before chunked", get("Transfer-Encoding: ,chunked"), rejectCoding},
		{"parameter of chunked", get("Transfer-Encoding: chunked;a=b"), rejectCoding},
		{"quoted chunked", get(`Transfer-Encoding: "chunked"`), rejectCoding},
		{"vertical tab before chunked", get("Transfer-Encoding: \x0bchunked"), rejectValue},
		{"gzip and chunked", get("Transfer-Encoding: gzip, chunked"), rejectUnknownCoding},
		{"identity", get("Transfer-Encoding: identity"), rejectUnknownCoding},
		{"xchunked", get("Transfer-Encoding: xchunked"), rejectUnknownCoding},
		{"content-length twice", get("Content-Length: 1", "Content-Length: 1"), rejectLength},
		{"content-length list", get("Content-Length: 1, 1"), rejectLength},
		{"content-length with plus", get("Content-Length: +1"), rejectLength},
		{"content-length with minus", get("Content-Length: -1"), rejectLength},
		{"content-length in hex", get("Content-Length: 0x1"), rejectLength},
		{"content-length with space", get("Content-Length: 1 1"), rejectLength},
		{"content-length empty", get("Content-Length:"), rejectLength},
		{"content-length of 2^63", get("Content-Length: 9223372036854775808"), rejectLength},
		{"content-length of 20 digits", get("Content-Length: 00000000000000000001"), rejectLength},
		{"content_length", get("Content_Length: 1"), rejectTwin},
		{"transfer_encoding", get("transfer_encoding: chunked"), rejectTwin},
		{"x_forwarded_for", get("X_Forwarded_For: 1.2.3.4"), rejectTwin},
		{"x-forwarded_host", get("X-Forwarded_Host: a"), rejectTwin},
		{"x_forwarded_anything", get("X_FORWARDED_PREFIX: a"), rejectTwin},
		{"ten connection options", get("Connection: a,b,c,d,e,f,g,h,i,j"), rejectConnection},
		{"ten connection options in two fields", get("Connection: a,b,c,d,e", "Connection: f,g,h,i,j"), rejectConnection},
		{"connection names host", get("Connection: host"), rejectConnection},
		{"connection names content-length", get("Connection: close, Content-Length"), rejectConnection},
		{"connection names transfer-encoding", get("Connection: transfer-encoding"), rejectConnection},
		{"connection names x-forwarded-for", get("Connection: X-Forwarded-For"), rejectConnection},
		{"connection names any x-forwarded", get("Connection: X-Forwarded-Ssl"), rejectConnection},
		{"connection names forwarded", get("Connection: forwarded"), rejectConnection},
		{"connection names via", get("Connection: via"), rejectConnection},
		{"connection names cookie", get("Connection: cookie"), rejectConnection},
		{"connection names authorization", get("Connection: Authorization"), rejectConnection},
		{"connection names a pseudo-header", get("Connection: :path"), rejectConnection},
		{"connection option with space", get("Connection: a b"), rejectConnection},
		{"unknown expect", get("Expect: 200-ok"), rejectExpect},
		{"expect twice", get("Expect: 100-continue", "Expect: 100-continue"), rejectExpect},
		{"129 fields", get(strings.TrimSuffix(strings.Repeat("X: y\r\n", 128), "\r\n")), rejectFields},
		{"large head", get("X: " + strings.Repeat("a", 4096)), rejectHeader},
		{"large head, not whole", "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 4096), rejectHeader},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, done, rej := parseRequest([]byte(test.head), testLimits)
			if done || rej != test.want {
				t.Errorf("done %v, got %+v, want %+v", done, rej, test.want)
			}
			_, done, rej = parseRequestSlowly([]byte(test.head), testLimits)
			if done || rej != test.want {
				t.Errorf("byte by byte: done %v, got %+v, want %+v", done, rej, test.want)
			}
		})
	}
}

func TestRequestRejectHasItsStatus(t *testing.T) {
	for rej, want := range map[*Reject]int{
		rejectURI: 414, rejectHeader: 431, rejectFields: 431, rejectVersion: 505, rejectUnknownCoding: 501,
		rejectConnect: 501, rejectExpect: 417, rejectBoth: 400, rejectCoding: 400, rejectHost: 400,
	} {
		if rej.Status != want {
			t.Errorf("%v: status %d, want %d", rej, rej.Status, want)
		}
	}
}

func TestRequestLimitsAreExact(t *testing.T) {
	head := []byte(crlf("GET /abc HTTP/1.1", "Host: a"))
	for _, test := range []struct {
		lim  Limits
		want *Reject
	}{
		{Limits{len(head), 4}, nil},
		{Limits{len(head) - 1, 4}, rejectHeader},
		{Limits{len(head), 3}, rejectURI},
	} {
		for _, parse := range []func([]byte, Limits) (*Request, bool, *Reject){parseRequest, parseRequestSlowly} {
			if _, done, rej := parse(head, test.lim); rej != test.want || done != (test.want == nil) {
				t.Errorf("%+v: done %v, got %v, want %v", test.lim, done, rej, test.want)
			}
		}
	}
}

// A buffer of MaxHeader bytes must never end in "full and not judged".
func TestIncompleteHeadOfMaxHeaderBytesIsRefused(t *testing.T) {
	for _, start := range []string{"", "GET /", "GET / HTTP/1.1\r\nX: "} {
		lim := Limits{MaxHeader: 100, MaxURI: 1000}
		b := []byte(start + strings.Repeat("a", 100-len(start)))
		if _, _, rej := parseRequest(b, lim); rej == nil {
			t.Errorf("%q: not refused", start)
		}
		if _, _, rej := parseRequest(b[:30], lim); rej != nil {
			t.Errorf("%q: refused at 30 bytes: %v", start, rej)
		}
	}
}

func TestRequestIsReusableAfterReset(t *testing.T) {
	r := new(Request)
	r.Reset()
	first := []byte(crlf("GET / HTTP/1.1", "Host: a", "Host: b"))
	if _, rej := r.Parse(first, testLimits); rej != rejectHost {
		t.Fatal(rej)
	}
	if _, rej := r.Parse(first, testLimits); rej != rejectHost {
		t.Fatal("a refused head stays refused, got", rej)
	}
	ws := []byte(crlf("GET /?q HTTP/1.1", "Host: a", "Connection: x, upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"))
	second := []byte(crlf("POST http://b HTTP/1.1", "Host: b", "Transfer-Encoding: chunked"))
	third := []byte(crlf("GET / HTTP/1.0", "X: y"))
	for _, b := range [][]byte{ws, second, third} {
		r.Reset()
		if done, rej := r.Parse(b, testLimits); !done || rej != nil {
			t.Fatal(done, rej)
		}
		fresh, _, _ := parseRequest(b, testLimits)
		if diff := cmp.Diff(seeRequest(fresh, b), seeRequest(r, b)); diff != "" {
			t.Error(diff)
		}
		if done, rej := r.Parse(b, testLimits); !done || rej != nil {
			t.Error("a parsed head stays parsed, got", done, rej)
		}
	}
}

func TestStartedOnlyWithTheFirstByteOfARequestLine(t *testing.T) {
	r := new(Request)
	r.Reset()
	b := []byte("\r\n\r\nG")
	for i := range len(b) {
		if r.Parse(b[:i], testLimits); r.Started() {
			t.Fatalf("started after %q", b[:i])
		}
	}
	if r.Parse(b, testLimits); !r.Started() {
		t.Fatal("not started after G")
	}
}

func TestFieldsThatConnectionNamesAreCut(t *testing.T) {
	b := []byte(crlf("GET / HTTP/1.1", "X-Early: 1", "Host: a", "Connection: X-Early, close, x-late, Keep-Alive", "X-Late: 2",
		"X-LATE: 3", "Keep-Alive: 5", "X-Late-Not: 4", "TE: trailers", "Proxy-Connection: x", "Upgrade: h2c", "X: y"))
	r, _, rej := parseRequest(b, testLimits)
	if rej != nil {
		t.Fatal(rej)
	}
	want := []string{"-X-Early|1", "Host|a", "-Connection|X-Early, close, x-late, Keep-Alive", "-X-Late|2",
		"-X-LATE|3", "-Keep-Alive|5", "X-Late-Not|4", "-TE|trailers", "-Proxy-Connection|x", "-Upgrade|h2c", "X|y"}
	if diff := cmp.Diff(want, seeFields(r.Fields, b)); diff != "" {
		t.Error(diff)
	}
}

func TestValueIsOfTheFirstField(t *testing.T) {
	b := []byte(crlf("GET / HTTP/1.1", "Host: a", "Cookie: 1", "Cookie: 2"))
	r, _, _ := parseRequest(b, testLimits)
	if got := string(r.Value(b, FieldCookie)); got != "1" {
		t.Errorf("got %q, want 1", got)
	}
	if got := r.Value(b, FieldVia); got != nil || r.Has(FieldVia) {
		t.Errorf("got %q for a field that was not received", got)
	}
}

func TestIdempotentMethods(t *testing.T) {
	for m, want := range map[string]bool{"GET": true, "HEAD": true, "PUT": true, "DELETE": true, "OPTIONS": true,
		"TRACE": true, "POST": false, "PATCH": false, "LOCK": false, "get": false} {
		if got := verb([]byte(m)).Idempotent(); got != want {
			t.Errorf("%s: %v, want %v", m, got, want)
		}
	}
}

func ExampleReject() {
	r := new(Request)
	r.Reset()
	_, rej := r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), Limits{MaxHeader: 1024, MaxURI: 512})
	fmt.Println(rej.Status, rej.Reason, rej)
	// Output: 400 framing request has both content-length and transfer-encoding
}
