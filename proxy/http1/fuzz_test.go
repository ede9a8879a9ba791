package http1

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"
)

// The three targets hold one rule: what this package accepts, net/http and
// fasthttp accept too and read as the same message. To refuse more is allowed,
// to read differently is how requests are smuggled. Where an oracle refuses or
// changes what we accept on purpose, the place says why.

var fuzzLimits = Limits{MaxHeader: 64 << 10, MaxURI: 32 << 10}

func FuzzRequestHead(f *testing.F) {
	for _, s := range []string{
		string(browserHead), string(minimalHead), "\r\n\r\n" + string(minimalHead),
		crlf("POST http://[::1]:80?x HTTP/1.1", "Host: [::1]:80", "Transfer-Encoding: chunked", "Expect: 100-continue", "Trailer: X-Sum"),
		crlf("GET / HTTP/1.1", "Host: a", "Connection: Upgrade, x", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "X: \xff"),
		crlf("OPTIONS * HTTP/1.0", "Connection: keep-alive", "Content-Length: 007", "X-Forwarded-For: a", "Forwarded: for=b"),
		crlf("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 1"),
		crlf("GET / HTTP/1.1", "Host: a", "Content-Length : 1", "X:a", " b"),
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(0xff))
	}
	f.Fuzz(holdRequest)
}

func holdRequest(t *testing.T, b []byte, choice uint8) {
	r, done, rej := parseRequest(b, fuzzLimits)
	slow, slowDone, slowRej := parseRequestSlowly(b, fuzzLimits)
	if done != slowDone || (rej == nil) != (slowRej == nil) {
		t.Fatalf("done %v, %v; byte by byte: done %v, %v", done, rej, slowDone, slowRej)
	}
	if !done {
		return
	}
	if diff := cmp.Diff(seeRequest(r, b), seeRequest(slow, b)); diff != "" {
		t.Fatal("byte by byte:", diff)
	}
	head := b[r.Method.Start:r.HeadLen] // RFC 9112, section 2.2: neither oracle skips empty lines as we do
	sameAsNetHTTP(t, head, r, b)
	sameAsFastHTTP(t, head, r, b)
	sameWhenForwarded(t, r, b, choice)
}

func sameAsNetHTTP(t *testing.T, head []byte, r *Request, b []byte) {
	std, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(head), len(head)+16))
	if err != nil {
		if netHTTPIsStricter(err, r, b) {
			return
		}
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	if got, want := std.Method, string(r.Method.of(b)); got != want {
		t.Errorf("method %q, net/http %q", want, got)
	}
	if got, want := std.RequestURI, string(r.Target.of(b)); got != want {
		t.Errorf("target %q, net/http %q", want, got)
	}
	if got, want := std.Host, string(r.Host.of(b)); !fold(got, want) {
		t.Errorf("host %q, net/http %q", want, got)
	}
	if got, want := std.URL.EscapedPath(), string(r.Path.of(b)); got != want && !escapedAnew(want) {
		t.Errorf("path %q, net/http %q", want, got)
	}
	if got, want := std.URL.RawQuery, string(r.Query.of(b)); got != want {
		t.Errorf("query %q, net/http %q", want, got)
	}
	want := max(r.ContentLength, 0) // net/http does not tell no length from 0
	if r.Chunked {
		want = -1
	}
	if std.ContentLength != want || std.Close == r.KeepAlive {
		t.Errorf("length %d, keep-alive %v, net/http %d, close %v", want, r.KeepAlive, std.ContentLength, std.Close)
	}
	sameFields(t, r.Fields, b, std.Header)
}

// netHTTPIsStricter knows what net/http refuses and we forward.
func netHTTPIsStricter(err error, r *Request, b []byte) bool {
	// Trailer that names a framing field, or is malformed, is judged by the
	// backend: the trailer section itself is checked when it comes.
	return strings.Contains(err.Error(), "bad trailer key") && r.Chunked && r.Has(FieldTrailer)
}

// escapedAnew: net/http writes these raw bytes as escapes when it is asked for the path.
func escapedAnew(path string) bool { return strings.ContainsAny(path, "\"<>[]\\^`{|}!'()*;,") }

// sameFields compares all values of all names, in order within a name.
func sameFields(t *testing.T, fields []Field, b []byte, std http.Header, but ...string) {
	t.Helper()
	ours := http.Header{}
	for _, f := range fields {
		name := textproto.CanonicalMIMEHeaderKey(string(f.Name.of(b)))
		ours[name] = append(ours[name], string(f.Value.of(b)))
	}
	// net/http takes these out of the header, and adds a Cache-Control for Pragma.
	for _, name := range append(but, "Host", "Transfer-Encoding", "Trailer", "Content-Length", "Cache-Control") {
		delete(ours, name)
		delete(std, name)
	}
	if diff := cmp.Diff(ours, std); diff != "" && len(ours)+len(std) > 0 {
		t.Errorf("fields of %q: %s", b, diff)
	}
}

func sameAsFastHTTP(t *testing.T, head []byte, r *Request, b []byte) {
	var h fasthttp.RequestHeader
	h.DisableNormalizing()
	if err := h.Read(bufio.NewReaderSize(bytes.NewReader(head), len(head)+16)); err != nil {
		if fastHTTPIsStricter(err, r, b) {
			return
		}
		t.Fatalf("fasthttp refuses %q: %v", head, err)
	}
	if got, want := h.Method(), r.Method.of(b); !bytes.Equal(got, want) {
		t.Errorf("method %q, fasthttp %q", want, got)
	}
	if got, want := h.RequestURI(), r.Target.of(b); !bytes.Equal(got, want) {
		t.Errorf("target %q, fasthttp %q", want, got)
	}
	if got, want := h.Host(), r.Value(b, FieldHost); !bytes.Equal(got, want) {
		t.Errorf("host %q, fasthttp %q", want, got)
	}
	want := int(r.ContentLength)
	if r.Chunked {
		want = -1
	} else if want < 0 {
		want = 0
	}
	if got := max(h.ContentLength(), -1); got != want && !(got == -1 && !r.Chunked && r.ContentLength < 0) {
		t.Errorf("length %d, fasthttp %d of %q", want, got, head)
	}
	var theirs, ours []string
	for k, v := range h.AllInOrder() {
		theirs = append(theirs, string(k)+"|"+string(v))
	}
	for _, f := range r.Fields {
		ours = append(ours, string(f.Name.of(b))+"|"+string(f.Value.of(b)))
	}
	if diff := cmp.Diff(ours, theirs); diff != "" {
		t.Errorf("fields of %q: %s", head, diff)
	}
}

func fastHTTPIsStricter(err error, r *Request, b []byte) bool {
	switch {
	case r.Has(FieldTrailer) && strings.Contains(err.Error(), "trailer"):
		return true // as with net/http
	case r.Has(FieldHost) && len(r.Value(b, FieldHost)) == 0:
		return true // RFC 9112, section 3.2.2: the target says it, and what we forward has it in Host
	}
	return false
}

// sameWhenForwarded composes r under an edit that choice picks, and holds that
// the result is one request, the same one, to us and to net/http, with the
// kept lines byte for byte and none that had to be cut.
func sameWhenForwarded(t *testing.T, r *Request, b []byte, choice uint8) {
	e := RequestEdit{BareHost: []byte("bare"), Forward: ForwardMode(choice & 3 % 3), CutExpect: choice&8 != 0, Close: choice&16 != 0}
	if choice&32 != 0 {
		e.RFC7239, e.ClientIP, e.Proto = true, []byte("2001:db8::1"), []byte("http")
	}
	if choice&64 != 0 {
		e.Via, e.RequestID, e.Strip = []byte("1.1 weir"), []byte("id"), 1
	}
	if choice&128 != 0 {
		e.Remove = []string{"user-agent"}
		e.Set = []Line{{"accept", []byte("Accept: x\r\n")}}
	}
	out := AppendRequest(nil, b, r, &e)
	again, done, rej := parseRequest(out, Limits{1 << 20, 1 << 20})
	if rej == rejectFields {
		return // the added ones were too many for us, not for the backend
	}
	if !done || again.HeadLen != len(out) {
		t.Fatalf("%q became %q: done %v, %v", b[:r.HeadLen], out, done, rej)
	}
	if again.Minor != 1 || again.Verb != r.Verb || again.ContentLength != r.ContentLength || again.Chunked != r.Chunked ||
		again.WebSocket != r.WebSocket || again.Expect100 != (r.Expect100 && !e.CutExpect) || r.Host.Len() > 0 && !fold(again.Host.of(out), r.Host.of(b)) {
		t.Fatalf("%q became another request: %q", b[:r.HeadLen], out)
	}
	if !again.WebSocket && again.KeepAlive == e.Close {
		t.Errorf("keep-alive %v in %q", again.KeepAlive, out)
	}
	var lines, want []string
	for i := range again.Fields {
		f := &again.Fields[i]
		lines = append(lines, string(f.Line.of(out)))
		if f.Cut && f.ID != FieldConnection && f.ID != FieldTransferEncoding && !(r.WebSocket && f.ID == FieldUpgrade) {
			t.Errorf("%q was forwarded", f.Line.of(out))
		}
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; f.ID == FieldOther && !f.Cut && !(choice&128 != 0 && fold(f.Name.of(b), "accept")) {
			want = append(want, string(f.Line.of(b)))
		}
	}
	kept := slices.DeleteFunc(slices.Clone(lines), func(s string) bool {
		return fieldID([]byte(s[:strings.IndexByte(s, ':')])) != FieldOther || s == "Accept: x\r\n" && choice&128 != 0
	})
	if diff := cmp.Diff(want, kept); diff != "" && len(want)+len(kept) > 0 {
		t.Errorf("%q became %q: %s", b[:r.HeadLen], out, diff)
	}
	if !r.Has(FieldTrailer) {
		if _, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(out), len(out)+16)); err != nil {
			t.Fatalf("net/http refuses %q: %v", out, err)
		}
	}
}

func FuzzResponseHead(f *testing.F) {
	for _, s := range []string{
		string(responseHead), crlf("HTTP/1.0 200"), crlf("HTTP/1.1 204 \xe9", "Connection: close, X", "X: y"),
		crlf("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Keep-Alive: timeout=5", "Set-Cookie: a", "Set-Cookie: b"),
		crlf("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"), crlf("HTTP/1.1 103 Early Hints", "Link: </a>"),
		crlf("HTTP/1.0 304 Not Modified", "Connection: keep-alive", "Content-Length: 5"),
	} {
		f.Add([]byte(s), uint8(0))
		f.Add([]byte(s), uint8(0xff))
	}
	f.Fuzz(holdResponse)
}

func holdResponse(t *testing.T, b []byte, choice uint8) {
	v := VerbGET
	if choice&1 != 0 {
		v = VerbHEAD
	}
	upgrade := choice&2 != 0
	r, done, rej := parseResponse(b, fuzzLimits, v, upgrade)
	slow, slowDone, slowRej := parseResponseSlowly(b, fuzzLimits, v, upgrade)
	if done != slowDone || (rej == nil) != (slowRej == nil) {
		t.Fatalf("done %v, %v; byte by byte: done %v, %v", done, rej, slowDone, slowRej)
	}
	if !done {
		return
	}
	if diff := cmp.Diff(seeResponse(r, b), seeResponse(slow, b)); diff != "" {
		t.Fatal("byte by byte:", diff)
	}
	responseSameAsNetHTTP(t, r, b, v)
	responseSameAsFastHTTP(t, r, b)

	e := ResponseEdit{Conn: ConnOption(choice >> 2 & 3 % 3), Chunked: choice&16 != 0}
	if choice&32 != 0 {
		e.Via, e.Date, e.Remove = []byte("1.1 weir"), []byte("Sun, 22 Nov 2026 12:00:00 GMT"), []string{"server"}
	}
	out := AppendResponse(nil, b, r, &e)
	again, done, rej := parseResponse(out, Limits{1 << 20, 1}, v, upgrade)
	if rej == rejectResponseFields {
		return
	}
	if !done || again.HeadLen != len(out) || again.Status != r.Status || !bytes.Equal(again.Reason.of(out), r.Reason.of(b)) {
		t.Fatalf("%q became %q: %v", b[:r.HeadLen], out, rej)
	}
	none := r.Status < 200 || r.Status == 204
	switch {
	case again.Chunked != (e.Chunked && !none):
		t.Errorf("chunked %v in %q", again.Chunked, out)
	case again.ContentLength >= 0 && (none || e.Chunked), again.ContentLength < 0 && r.ContentLength >= 0 && !none && !e.Chunked:
		t.Errorf("length %d in %q", again.ContentLength, out)
	}
	for i := range again.Fields {
		if f := &again.Fields[i]; f.Cut && f.ID != FieldConnection && f.ID != FieldTransferEncoding && !(r.Status == 101 && f.ID == FieldUpgrade) {
			t.Errorf("%q was forwarded", f.Line.of(out))
		}
	}
}

func responseSameAsNetHTTP(t *testing.T, r *Response, b []byte, v Verb) {
	req := &http.Request{Method: "GET"}
	if v == VerbHEAD {
		req.Method = "HEAD"
	}
	head := b[:r.HeadLen]
	std, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(head), len(head)+16), req)
	if err != nil {
		if strings.Contains(err.Error(), "bad trailer key") && r.Chunked && r.Has(FieldTrailer) {
			return // see netHTTPIsStricter
		}
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	if std.StatusCode != r.Status || std.ProtoMinor != int(r.Minor) {
		t.Errorf("%d HTTP/1.%d, net/http %d, %s", r.Status, r.Minor, std.StatusCode, std.Proto)
	}
	chunked := slices.Contains(std.TransferEncoding, "chunked")
	switch r.Body {
	case BodyNone:
		if std.Body != http.NoBody && std.ContentLength > 0 && v != VerbHEAD {
			t.Errorf("no body, net/http %d bytes", std.ContentLength)
		}
	case BodyLength:
		if std.ContentLength != r.ContentLength || chunked {
			t.Errorf("length %d, net/http %d", r.ContentLength, std.ContentLength)
		}
	case BodyChunked:
		if !chunked {
			t.Error("chunked, not so for net/http")
		}
	case BodyUntilClose:
		if std.ContentLength != -1 || chunked || !std.Close {
			t.Errorf("until close, net/http length %d", std.ContentLength)
		}
	}
	if r.KeepAlive && std.Close {
		t.Errorf("keep-alive, net/http says close: %q", head)
	}
	// net/http takes Connection out where it says close.
	sameFields(t, r.Fields, b, std.Header, "Connection")
}

func responseSameAsFastHTTP(t *testing.T, r *Response, b []byte) {
	var h fasthttp.ResponseHeader
	head := b[:r.HeadLen]
	h.DisableNormalizing()
	if err := h.Read(bufio.NewReaderSize(bytes.NewReader(head), len(head)+16)); err != nil {
		if strings.Contains(err.Error(), "trailer") && r.Has(FieldTrailer) {
			return
		}
		t.Fatalf("fasthttp refuses %q: %v", head, err)
	}
	if h.StatusCode() != r.Status {
		t.Errorf("status %d, fasthttp %d", r.Status, h.StatusCode())
	}
	switch n := h.ContentLength(); r.Body {
	case BodyLength:
		if int64(n) != r.ContentLength {
			t.Errorf("length %d, fasthttp %d", r.ContentLength, n)
		}
	case BodyChunked:
		if n != -1 {
			t.Errorf("chunked, fasthttp length %d", n)
		}
	case BodyUntilClose:
		if n != -2 {
			t.Errorf("until close, fasthttp length %d", n)
		}
	}
}

func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "0003\r\nabc\r\na;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\nX:z\r\n\r\n",
		"3\r\nabc0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n", "1;\r\na\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "0\r\nContent-Length: 3\r\n\r\n", "0;a\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1))
		f.Add([]byte(s), uint8(200))
	}
	f.Fuzz(holdChunked)
}

func holdChunked(t *testing.T, b []byte, step uint8) {
	body := string(b)
	data, trailer, rest, done, rej := dechunk(body, len(body)+1, true)
	slowData, slowTrailer, slowRest, slowDone, slowRej := dechunk(body, int(step)+1, true)
	if data != slowData || trailer != slowTrailer || rest != slowRest || done != slowDone || rej != slowRej {
		t.Fatalf("%q: %q, %q, %d, %v; in steps %q, %q, %d, %v", body, data, trailer, rest, rej, slowData, slowTrailer, slowRest, slowRej)
	}
	if !done {
		return
	}
	stdData, stdTrailer, stdRest, err := stdDechunk(body)
	if err != nil || stdData != data || stdRest != rest {
		t.Fatalf("%q: %q, %d left, net/http %q, %d left, %v", body, data, rest, stdData, stdRest, err)
	}
	var fields []Field
	for at := 0; at < len(trailer); {
		end := at + strings.IndexByte(trailer[at:], '\n') + 1
		line, bad := scanField([]byte(trailer), at, end)
		if bad != flawNone {
			t.Fatalf("trailer %q", trailer)
		}
		fields, at = append(fields, line), end
	}
	sameFields(t, fields, []byte(trailer), stdTrailer)

	out, done, rej := relay(body, int(step)+1)
	if !done {
		t.Fatalf("%q: not relayed: %v", body, rej)
	}
	outData, outTrailer, outRest, done, rej := dechunk(out, len(out), true)
	if !done || outData != data || outTrailer != trailer || outRest != 0 {
		t.Fatalf("%q relayed as %q: %v", body, out, rej)
	}
	stdData, _, stdRest, err = stdDechunk(out)
	if err != nil || stdData != data || stdRest != 0 {
		t.Fatalf("%q relayed as %q: net/http %q, %v", body, out, stdData, err)
	}
}

func stdDechunk(body string) (data string, trailer http.Header, rest int, err error) {
	r := bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body))
	req, err := http.ReadRequest(r)
	if err != nil {
		return "", nil, 0, err
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return string(b), nil, 0, err
	}
	left, err := io.ReadAll(r)
	return string(b), req.Trailer, len(left), err
}

func FuzzAuthorityAndRoute(f *testing.F) {
	for _, s := range []string{"a", "Shop.Test.:80", "[::1]:80", "[1:2:3:4:5:6:1.2.3.4]", "a..b", "a:0", "*.x"} {
		f.Add(s, "/static/%73/../x")
	}
	router, err := NewRouter([]Rule{{"*.test", "/static"}, {"*.test", "/"}, {"", "/"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, host, path string) {
		checkIPv6(t, host)
		if validAuthority([]byte(host)) {
			name := AppendHost(nil, []byte(host))
			if again := AppendHost(nil, name); len(name) == 0 || bytes.IndexByte(name, ':') < 0 && !bytes.Equal(again, name) {
				t.Errorf("%q: %q, then %q", host, name, again)
			}
		}
		rule, prefix, rej := router.Match([]byte(host), []byte(path))
		if rej == nil && (rule < 0 || prefix > len(path)) || rej != nil && rule >= 0 {
			t.Errorf("%q %q: %d, %d, %v", host, path, rule, prefix, rej)
		}
	})
}

// Random bytes seldom make a head; pieces of heads, put together at random, do,
// and the same seed makes the same ones on every run.
func TestHeadsAndBodiesOfRandomPiecesReadAlikeEverywhere(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 9))
	pick := func(of []string) string { return of[random.IntN(len(of))] }
	odd := strings.Split("| |\t|\r|\n|\r\n|\x00|\x7f|\xff|,|;|:|\"|=|#|?|%|%2e|/|..|\\|@|_|-|0|1|+|a|A|\r\n |\r\nX: y", "|")
	names := []string{"X", "x-A", "Content-Length", "content-length", "Content_Length", "Transfer-Encoding", "Transfer_Encoding", "Connection", "Host",
		"Upgrade", "TE", "Keep-Alive", "Expect", "Via", "Cookie", "User-Agent", "Accept", "X-Forwarded-For", "Forwarded", "Trailer", "Set-Cookie", "Server",
		"Sec-WebSocket-Key", "Sec-WebSocket-Version", "Content-Type", "Pragma", "Date"}
	values := []string{"", "a", "1", "3", "chunked", "Chunked", "gzip", "identity", "close", "keep-alive", "upgrade", "websocket", "X", "x-a", "a, b", "100-continue",
		"dGhlIHNhbXBsZSBub25jZQ==", "timeout=5", "a:80", "[::1]", "\xe9\t\xff", "\"q\"", "9223372036854775807", "X-Sum", "text/html"}
	line := func(b *strings.Builder, odds int) {
		for _, s := range []string{pick(names), ":", pick([]string{"", " ", "\t "}), pick(values), "\r\n"} {
			b.WriteString(s)
			if random.IntN(odds) == 0 {
				b.WriteString(pick(odd))
			}
		}
	}
	accepted := map[string]int{}
	for range 20000 {
		odds := 10 + random.IntN(200)
		var b strings.Builder
		for _, s := range []string{pick([]string{"", "", "\r\n"}), pick([]string{"GET", "HEAD", "POST", "OPTIONS", "M"}), " ",
			pick([]string{"/", "/a?b", "*", "http://a", "http://a:80/x?", "https://[::1]/", "/%20", "/a//b|{}"}), " ",
			pick([]string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"}), "\r\n", "Host: ", pick([]string{"a", "a", "a:80", "[::1]"}), "\r\n"} {
			b.WriteString(s)
			if random.IntN(odds) == 0 {
				b.WriteString(pick(odd))
			}
		}
		for range random.IntN(6) {
			line(&b, odds)
		}
		b.WriteString("\r\n")
		head := []byte(b.String() + "rest")
		if _, done, _ := parseRequest(head, fuzzLimits); done {
			accepted["requests"]++
		}
		holdRequest(t, head, uint8(random.Uint32()))

		b.Reset()
		for _, s := range []string{pick([]string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.0"}), " ", pick([]string{"200", "204", "304", "101", "103", "500"}), " ", pick([]string{"", "OK", "\xe9 "}), "\r\n"} {
			b.WriteString(s)
			if random.IntN(odds) == 0 {
				b.WriteString(pick(odd))
			}
		}
		for range random.IntN(6) {
			line(&b, odds)
		}
		b.WriteString("\r\n")
		head = []byte(b.String() + "rest")
		choice := uint8(random.Uint32())
		if _, done, _ := parseResponse(head, fuzzLimits, VerbGET, choice&2 != 0); done {
			accepted["responses"]++
		}
		holdResponse(t, head, choice)

		b.Reset()
		for range random.IntN(4) {
			data := strings.Repeat("d", 1+random.IntN(20))
			size := strconv.FormatInt(int64(len(data)), 16)
			for _, s := range []string{pick([]string{"", "", "0", "00000000"}), size, pick([]string{"", "", ";a", ";a=b", ";a=\"b\""}), "\r\n", data, "\r\n"} {
				b.WriteString(s)
				if random.IntN(odds) == 0 {
					b.WriteString(pick(odd))
				}
			}
		}
		b.WriteString("0\r\n")
		for range max(0, random.IntN(4)-1) {
			line(&b, odds)
		}
		b.WriteString("\r\n")
		if _, _, _, done, _ := dechunk(b.String(), 1<<20, true); done {
			accepted["bodies"]++
		}
		holdChunked(t, []byte(b.String()+"rest"), uint8(random.Uint32()))
		if t.Failed() {
			return
		}
	}
	for _, kind := range []string{"requests", "responses", "bodies"} {
		if accepted[kind] < 1000 {
			t.Errorf("only %d %s were accepted: the comparison says little", accepted[kind], kind)
		}
	}
	t.Log(accepted)
}
