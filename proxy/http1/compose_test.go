package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// forward parses head and composes it, and holds what is true of every
// composed head: our parser and net/http read it, and as the same request.
func forward(t *testing.T, head string, e RequestEdit) string {
	t.Helper()
	b := []byte(head + "body")
	r, done, rej := parseRequest(b, testLimits)
	if !done {
		t.Fatalf("%q: %v", head, rej)
	}
	out := AppendRequest(nil, b, r, &e)
	again, done, rej := parseRequest(out, Limits{1 << 20, 1 << 20})
	if !done || again.HeadLen != len(out) {
		t.Fatalf("%q: does not parse: %v", out, rej)
	}
	if again.ContentLength != r.ContentLength || again.Chunked != r.Chunked || again.WebSocket != r.WebSocket || again.Minor != 1 {
		t.Errorf("%q became %q", head, out)
	}
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
	if err != nil {
		t.Fatalf("%q: net/http: %v", out, err)
	}
	if std.Method != string(r.Method.of(b)) {
		t.Errorf("method %q became %q", r.Method.of(b), std.Method)
	}
	return string(out)
}

func TestRequestIsForwarded(t *testing.T) {
	ws := []string{"GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}
	full := RequestEdit{Forward: ForwardReplace, RFC7239: true, ClientIP: []byte("192.0.2.1"), Proto: []byte("http"), Via: []byte("1.1 weir"), RequestID: []byte("id1")}
	trusted := RequestEdit{Forward: ForwardAppend, RFC7239: true, ClientIP: []byte("2001:db8::1"), Proto: []byte("http")}
	for _, test := range []struct {
		name string
		edit RequestEdit
		head string
		want string
	}{
		{"nothing to change", RequestEdit{}, crlf("GET /a?b HTTP/1.1", "Host: a", "x-Y:  z ", "X-y: \xff"), crlf("GET /a?b HTTP/1.1", "Host: a", "x-Y:  z ", "X-y: \xff")},
		{"empty lines before are not forwarded", RequestEdit{}, "\r\n\r\n" + crlf("GET / HTTP/1.1", "Host: a"), crlf("GET / HTTP/1.1", "Host: a")},
		{"hop-by-hop fields", RequestEdit{}, crlf("GET / HTTP/1.1", "Connection: keep-alive, X-A", "Host: a", "Keep-Alive: 1", "X-A: 1", "A: b", "TE: trailers", "Proxy-Connection: close", "Upgrade: h2c"), crlf("GET / HTTP/1.1", "Host: a", "A: b")},
		{"duplicates and order", RequestEdit{}, crlf("GET / HTTP/1.1", "Cookie: 1", "B: 1", "Host: a", "Cookie: 2", "TE: x", "B: 2"), crlf("GET / HTTP/1.1", "Cookie: 1", "B: 1", "Host: a", "Cookie: 2", "B: 2")},
		{"content-length stays", RequestEdit{}, crlf("PUT / HTTP/1.1", "Host: a", "Content-Length:  4"), crlf("PUT / HTTP/1.1", "Host: a", "Content-Length:  4")},
		{"chunked is written anew", RequestEdit{}, crlf("PUT / HTTP/1.1", "Transfer-Encoding:CHUNKED", "Host: a"), crlf("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")},
		{"1.0 without host", RequestEdit{BareHost: []byte("b:9001")}, crlf("GET / HTTP/1.0", "A: b"), crlf("GET / HTTP/1.1", "Host: b:9001", "A: b")},
		{"1.0 with host", RequestEdit{BareHost: []byte("b")}, crlf("GET / HTTP/1.0", "A: b", "Host: a"), crlf("GET / HTTP/1.1", "A: b", "Host: a")},
		{"absolute form", RequestEdit{}, crlf("GET http://A/x?y HTTP/1.1", "Host: a"), crlf("GET /x?y HTTP/1.1", "Host: a")},
		{"absolute form without path", RequestEdit{}, crlf("GET http://a HTTP/1.1", "Host: a"), crlf("GET / HTTP/1.1", "Host: a")},
		{"absolute form with query alone", RequestEdit{}, crlf("OPTIONS http://a? HTTP/1.1", "Host: a"), crlf("OPTIONS /? HTTP/1.1", "Host: a")},
		{"absolute OPTIONS without path", RequestEdit{}, crlf("OPTIONS http://a HTTP/1.1", "Host: a"), crlf("OPTIONS * HTTP/1.1", "Host: a")},
		{"absolute form with empty host", RequestEdit{BareHost: []byte("b")}, crlf("GET http://a:1/ HTTP/1.1", "B: c", "Host:"), crlf("GET / HTTP/1.1", "Host: a:1", "B: c")},
		{"absolute form, 1.0, no host", RequestEdit{BareHost: []byte("b")}, crlf("GET http://a/ HTTP/1.0"), crlf("GET / HTTP/1.1", "Host: a")},
		{"host is replaced", RequestEdit{Host: []byte("b")}, crlf("GET / HTTP/1.1", "A: b", "hOST: a"), crlf("GET / HTTP/1.1", "Host: b", "A: b")},
		{"strip", RequestEdit{Strip: len("/static")}, crlf("GET /static/x?y HTTP/1.1", "Host: a"), crlf("GET /x?y HTTP/1.1", "Host: a")},
		{"strip with slash", RequestEdit{Strip: len("/static/")}, crlf("GET /static/x HTTP/1.1", "Host: a"), crlf("GET /x HTTP/1.1", "Host: a")},
		{"strip all", RequestEdit{Strip: len("/static")}, crlf("GET /static? HTTP/1.1", "Host: a"), crlf("GET /? HTTP/1.1", "Host: a")},
		{"strip makes no asterisk form", RequestEdit{Strip: len("/a/")}, crlf("GET /a/* HTTP/1.1", "Host: a"), crlf("GET /* HTTP/1.1", "Host: a")},
		{"strip leaves the asterisk", RequestEdit{Strip: 1}, crlf("OPTIONS * HTTP/1.1", "Host: a"), crlf("OPTIONS * HTTP/1.1", "Host: a")},
		{"expect is kept", RequestEdit{}, crlf("PUT / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 4"), crlf("PUT / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 4")},
		{"expect is cut", RequestEdit{CutExpect: true}, crlf("PUT / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 4"), crlf("PUT / HTTP/1.1", "Host: a", "Content-Length: 4")},
		{"expect of a 1.0 client is cut", RequestEdit{}, crlf("PUT / HTTP/1.0", "Host: a", "Expect: 100-continue", "Content-Length: 4"), crlf("PUT / HTTP/1.1", "Host: a", "Content-Length: 4")},
		{"close", RequestEdit{Close: true}, crlf("GET / HTTP/1.1", "Host: a"), crlf("GET / HTTP/1.1", "Host: a", "Connection: close")},
		{"websocket", RequestEdit{Close: true}, crlf(ws...), crlf("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", ws[4], ws[5], "Connection: upgrade")},
		{"remove and set", RequestEdit{Remove: []string{"x-secret"}, Set: []Line{{"x-env", []byte("X-Env: prod\r\n")}}}, crlf("GET / HTTP/1.1", "X-Env: test", "Host: a", "X-SECRET: s", "X-Secrets: t"), crlf("GET / HTTP/1.1", "Host: a", "X-Secrets: t", "X-Env: prod")},
		{"forwarding fields are replaced", full, crlf("GET / HTTP/1.1", "X-Forwarded-For: 6.6.6.6", "Host: a:80", "Forwarded: for=6", "X-Forwarded-Proto: https", "X-Forwarded-Port: 1", "X-Forwarded-Host: e", "Via: 1.0 p", "X-Request-ID: x"),
			crlf("GET / HTTP/1.1", "Host: a:80", "Via: 1.0 p", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: a:80", `Forwarded: for=192.0.2.1;host="a:80";proto=http`, "Via: 1.1 weir", "X-Request-Id: id1")},
		{"forwarding fields are continued", trusted, crlf("GET / HTTP/1.1", "X-Forwarded-For: 1.1.1.1", "Host: a", "X-Forwarded-For: 2.2.2.2, 3.3.3.3", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "Forwarded: for=1.1.1.1"),
			crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 2001:db8::1", "X-Forwarded-Host: a", `Forwarded: for=1.1.1.1, for="[2001:db8::1]";host="a";proto=http`)},
		{"continuing nothing", RequestEdit{Forward: ForwardAppend, ClientIP: []byte("192.0.2.1")}, crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-For:"), crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: a")},
		{"client without address", RequestEdit{Forward: ForwardAppend, RFC7239: true, Proto: []byte("https")}, crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 1.1.1.1"), crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: a", `Forwarded: for=unknown;host="a";proto=https`)},
		{"forwarding fields are kept", RequestEdit{}, crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 1.1.1.1", "Forwarded: for=1"), crlf("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 1.1.1.1", "Forwarded: for=1")},
		{"no field is kept", RequestEdit{BareHost: []byte("b")}, crlf("GET / HTTP/1.0", "TE: x"), crlf("GET / HTTP/1.1", "Host: b")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, forward(t, test.head, test.edit)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestComposeAppendsToWhatIsThere(t *testing.T) {
	b := []byte(crlf("GET / HTTP/1.1", "Host: a"))
	r, _, _ := parseRequest(b, testLimits)
	if got := string(AppendRequest([]byte("before"), b, r, &RequestEdit{})); got != "before"+string(b) {
		t.Errorf("%q", got)
	}
	b = []byte(crlf("HTTP/1.1 200 OK", "Content-Length: 0"))
	s, _, _ := parseResponse(b, testLimits, VerbGET, false)
	if got := string(AppendResponse([]byte("before"), b, s, &ResponseEdit{})); got != "before"+string(b) {
		t.Errorf("%q", got)
	}
}

func TestResponseIsForwarded(t *testing.T) {
	for _, test := range []struct {
		name string
		verb Verb
		edit ResponseEdit
		head string
		want string
	}{
		{"nothing to change", VerbGET, ResponseEdit{}, crlf("HTTP/1.1 200 OK", "content-length: 3", "Set-Cookie: 1", "Set-Cookie: 2"), crlf("HTTP/1.1 200 OK", "content-length: 3", "Set-Cookie: 1", "Set-Cookie: 2")},
		{"reason byte for byte", VerbGET, ResponseEdit{}, crlf("HTTP/1.0 404  tr\xe8s ", "Content-Length: 3"), crlf("HTTP/1.1 404  tr\xe8s ", "Content-Length: 3")},
		{"the space before no reason", VerbGET, ResponseEdit{}, crlf("HTTP/1.1 200", "Content-Length: 3"), crlf("HTTP/1.1 200 ", "Content-Length: 3")},
		{"hop-by-hop fields", VerbGET, ResponseEdit{}, crlf("HTTP/1.1 200 OK", "Connection: close, X-A", "Content-Length: 3", "X-A: 1", "Keep-Alive: timeout=5", "Upgrade: h2", "Proxy-Connection: x", "B: c"), crlf("HTTP/1.1 200 OK", "Content-Length: 3", "B: c")},
		{"close", VerbGET, ResponseEdit{Conn: ConnClose}, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: keep-alive"), crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: close")},
		{"keep-alive", VerbGET, ResponseEdit{Conn: ConnKeepAlive}, crlf("HTTP/1.1 200 OK", "Content-Length: 3"), crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Connection: keep-alive")},
		{"chunked through", VerbGET, ResponseEdit{Chunked: true}, crlf("HTTP/1.1 200 OK", "transfer-encoding: CHUNKED", "A: b"), crlf("HTTP/1.1 200 OK", "A: b", "Transfer-Encoding: chunked")},
		{"chunked to a 1.0 client", VerbGET, ResponseEdit{Conn: ConnClose}, crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "A: b"), crlf("HTTP/1.1 200 OK", "A: b", "Connection: close")},
		{"length becomes chunked", VerbGET, ResponseEdit{Chunked: true}, crlf("HTTP/1.1 200 OK", "Content-Length: 3"), crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")},
		{"HEAD keeps its length", VerbHEAD, ResponseEdit{}, crlf("HTTP/1.1 200 OK", "Content-Length: 3"), crlf("HTTP/1.1 200 OK", "Content-Length: 3")},
		{"304 keeps its length", VerbGET, ResponseEdit{}, crlf("HTTP/1.1 304 Not Modified", "Content-Length: 3"), crlf("HTTP/1.1 304 Not Modified", "Content-Length: 3")},
		{"204 has no framing", VerbGET, ResponseEdit{Chunked: true, Conn: ConnClose}, crlf("HTTP/1.1 204 No Content", "Content-Length: 3"), crlf("HTTP/1.1 204 No Content", "Connection: close")},
		{"204 chunked has no framing", VerbGET, ResponseEdit{}, crlf("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"), crlf("HTTP/1.1 204 No Content")},
		{"1xx has no framing", VerbGET, ResponseEdit{Chunked: true, Conn: ConnClose, Date: []byte("D")}, crlf("HTTP/1.1 103 Early Hints", "Content-Length: 0", "Link: </a>"), crlf("HTTP/1.1 103 Early Hints", "Link: </a>")},
		{"101", VerbGET, ResponseEdit{Conn: ConnClose}, crlf("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: x"), crlf("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Sec-WebSocket-Accept: x", "Connection: upgrade")},
		{"date and via", VerbGET, ResponseEdit{Date: []byte("D"), Via: []byte("1.1 weir")}, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Via: 1.0 p"), crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Via: 1.0 p", "Date: D", "Via: 1.1 weir")},
		{"the backend's date stays", VerbGET, ResponseEdit{Date: []byte("D")}, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "date: E"), crlf("HTTP/1.1 200 OK", "Content-Length: 3", "date: E")},
		{"remove and set", VerbGET, ResponseEdit{Remove: []string{"server"}, Set: []Line{{"x-a", []byte("X-A: 1\r\n")}}}, crlf("HTTP/1.1 200 OK", "Content-Length: 3", "Server: s", "X-a: 0"), crlf("HTTP/1.1 200 OK", "Content-Length: 3", "X-A: 1")},
		{"no field at all", VerbHEAD, ResponseEdit{}, crlf("HTTP/1.0 200 OK"), crlf("HTTP/1.1 200 OK")},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := []byte(test.head + "body")
			r, done, rej := parseResponse(b, testLimits, test.verb, true)
			if !done {
				t.Fatal(rej)
			}
			got := AppendResponse(nil, b, r, &test.edit)
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
			if again, done, rej := parseResponse(got, testLimits, test.verb, true); !done || again.HeadLen != len(got) {
				t.Errorf("%q: does not parse: %v", got, rej)
			}
		})
	}
}

func TestOperatorsMayNotEditWhatTheMessageHangsOn(t *testing.T) {
	for _, name := range []string{"", "a b", "a:", "Host", "content-length", "Content_Length", "Transfer-Encoding", "CONNECTION",
		"te", "Upgrade", "Keep-Alive", "Expect", "Proxy-Connection", "Via", "X-Forwarded-For", "X_Forwarded_Port", "x-request-id"} {
		if err := CheckEditName(name); err == nil {
			t.Errorf("%q: allowed", name)
		} else if !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"Server", "X-Env", "Cookie", "Authorization", "X-Forwarded-Port", "a_b"} {
		if err := CheckEditName(name); err != nil {
			t.Error(err)
		}
	}
}
