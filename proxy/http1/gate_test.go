package http1_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"weir/internal/testnet"
	"weir/proxy/http1"
)

// refused is every form of request that two parsers could read differently,
// with the status and the start of the reason it is refused with.
var refused = []struct {
	name, raw string
	status    int
	reason    string
}{
	{"both framings", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"both framings the other way round", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501, "not_implemented/transfer_coding"},
	{"coding xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, "not_implemented/transfer_coding"},
	{"coding gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "not_implemented/transfer_coding"},
	{"coding chunked, gzip", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding chunked, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding twice, one unknown", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding with parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding in quotes", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding behind a vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, "bad_request/field_value"},
	{"coding empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400, "bad_request/framing"},
	{"coding in a folded line", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/fold"},
	{"coding with HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/framing"},
	{"coding before its colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/field_name"},
	{"coding with an underscore", "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request/field_name"},
	{"length with an underscore", "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\nhello", 400, "bad_request/field_name"},
	{"length doubled and equal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, "bad_request/framing"},
	{"length as a list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400, "bad_request/framing"},
	{"length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400, "bad_request/framing"},
	{"length below zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400, "bad_request/framing"},
	{"length in hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400, "bad_request/framing"},
	{"length with a space", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nhello", 400, "bad_request/framing"},
	{"length empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, "bad_request/framing"},
	{"length beyond int64", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400, "bad_request/framing"},
	{"length that wraps to 5", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\nhello", 400, "bad_request/framing"},

	{"folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400, "bad_request/fold"},
	{"fold before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "bad_request/fold"},
	{"fold by a tab", "GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", 400, "bad_request/fold"},
	{"bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bad_request/line_end"},
	{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "bad_request/line_end"},
	{"head ended by bare LF", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bad_request/line_end"},
	{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400, "bad_request/line_end"},
	{"bare CR as a line end", "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400, "bad_request"},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\x00z\r\n\r\n", 400, "bad_request/field_value"},
	{"control in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\x01z\r\n\r\n", 400, "bad_request/field_value"},
	{"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\x7f\r\n\r\n", 400, "bad_request/field_value"},
	{"space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n", 400, "bad_request/field_name"},
	{"control in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x01y: z\r\n\r\n", 400, "bad_request/field_name"},
	{"byte above ASCII in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\xe9: z\r\n\r\n", 400, "bad_request/field_name"},
	{"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n", 400, "bad_request/field_name"},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", 400, "bad_request/field_name"},
	{"space before a colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "bad_request/field_name"},

	{"size with a space", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size behind a space", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size with 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size with a sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size below zero", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size that wraps", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size beyond int64", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size line ended by LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"size line ended by CR", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"LF in an extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"control in an extension", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\x00\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"extension without a name", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"extension that is endless", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 1000) + "\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"data longer than its size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"data shorter than its size", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nhello\r\n0\r\n\r\n", 400, "bad_request/chunk"},
	{"framing in a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 400, "bad_request/trailer"},
	{"host in a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", 400, "bad_request/trailer"},
	{"identity in a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", 400, "bad_request/trailer"},
	{"folded trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n", 400, "bad_request/trailer"},
	{"bare LF in a trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", 400, "bad_request/trailer"},

	{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "version/version"},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version/version"},
	{"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "version/version"},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version/version"},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "bad_request/request_line"},
	{"version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/request_line"},
	{"no version", "GET /\r\nHost: a\r\n\r\n", 400, "bad_request/request_line"},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"},
	{"a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/method"},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/request_line"},
	{"space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "bad_request/request_line"},
	{"method of no token", "G{T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/method"},
	{"space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/method"},
	{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request/method"},
	{"three empty lines before", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/request_line"},

	{"no host", "GET / HTTP/1.1\r\n\r\n", 400, "bad_request/host"},
	{"host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "bad_request/host"},
	{"host empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_request/host"},
	{"host with userinfo", "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400, "bad_request/host"},
	{"host as a list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "bad_request/host"},
	{"host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_request/host"},
	{"host with a port of letters", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "bad_request/host"},
	{"host with a port beyond 16 bit", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "bad_request/host"},
	{"host and target differ", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/host"},
	{"userinfo in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"other scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"target above ASCII", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"target in overlong UTF-8", "GET /\xc0\xaf HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"target with a control", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"target with a fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"target with half an escape", "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"target without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request/target"},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501, "not_implemented/connect"},

	{"connection names host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", 400, "bad_request/connection"},
	{"connection names the client's address", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For\r\n\r\n", 400, "bad_request/connection"},
	{"connection names any x-forwarded", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-thing\r\n\r\n", 400, "bad_request/connection"},
	{"connection names the framing", "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", 400, "bad_request/connection"},
	{"connection names credentials", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Authorization\r\n\r\n", 400, "bad_request/connection"},
	{"connection with ten options", "GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i,j\r\n\r\n", 400, "bad_request/connection"},
	{"connection with a space inside", "GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n", 400, "bad_request/connection"},
	{"expectation that is unknown", "GET / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417, "expectation/expect"},
	{"expectation twice", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 417, "expectation/expect"},
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

// Each refused form gets its answer, its connection closes, and neither it nor
// the request behind it reaches the backend, in one piece or byte by byte.
func TestGateRefusesWhatTwoParsersCouldReadDifferently(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			for _, whole := range []bool{true, false} {
				c := newClient(t, r.dial())
				if whole {
					c.send(test.raw + smuggled)
				} else {
					for i := range len(test.raw) {
						if _, err := io.WriteString(c.Conn, test.raw[i:i+1]); err != nil {
							break // refused already, and read no longer
						}
					}
				}
				a := c.answer("POST")
				if a.status != test.status || !strings.HasPrefix(a.get("X-Weir-Reason"), test.reason) {
					t.Errorf("whole %v: got %q, want %d %s", whole, a.head, test.status, test.reason)
				}
				if a.get("Connection") != "close" {
					t.Errorf("whole %v: no Connection: close in %q", whole, a.head)
				}
				c.CloseWrite()
				c.closed()
			}
		})
	}
	if n, m := backend.Accepted(), backend.Requests(); n != 0 || m != 0 {
		t.Errorf("%d connections and %d requests reached the backend", n, m)
	}
}

func (c *client) CloseWrite() {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
}

// A chunked body that turns bad after more than is read ahead has reached the
// backend in part, but is never ended there: no backend takes it for a request.
func TestGateNeverCompletesABodyThatTurnsBad(t *testing.T) {
	ended := make(chan error, 1)
	backend := testnet.NewBackend(t, func(c *testnet.BackendConn) {
		r, err := c.ReadHead()
		if err == nil {
			err = c.ReadBody(r)
		}
		ended <- err
	})
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	c := r.client()
	c.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
		strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 40) + "5 \r\nhello\r\n0\r\n\r\n" + smuggled)
	a := c.answer("POST")
	if a.status != 400 || a.get("X-Weir-Reason") != "bad_request/chunk" {
		t.Errorf("got %q", a.head)
	}
	c.CloseWrite()
	c.closed()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the backend got a complete body")
		}
	case <-time.After(10 * time.Second):
		t.Error("the backend still waits for the body")
	}
	if n := backend.Requests(); n != 1 {
		t.Errorf("the backend saw %d requests", n)
	}
}

// What is odd but clear is let through: a gate that refuses honest clients is
// turned off.
func TestGateLetsOddButClearRequestsThrough(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String()})
	for name, raw := range map[string]string{
		"own method":             "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
		"empty lines before":     "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"chunked in capitals":    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"GET with a body":        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"absolute target":        "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS *":              "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"IPv6 host":              "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
		"leading zeros":          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nhello",
		"chunk extensions":       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d e\"\r\nhello\r\n0\r\n\r\n",
		"tab and bytes in value": "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\xff\r\n\r\n",
	} {
		c := newClient(t, r.dial())
		c.send(raw)
		a := c.answer("POST")
		if a.status != 200 {
			t.Errorf("%s: got %q", name, a.head)
		}
		if strings.Contains(raw, "hello") && a.body != "hello" {
			t.Errorf("%s: the backend got the body %q", name, a.body)
		}
		c.kept()
	}
}

func TestLimitsAreAnsweredByTheirStatus(t *testing.T) {
	backend := testnet.NewBackend(t, testnet.Echo)
	r := newRig(t, rigOptions{backend: backend.Addr().String(), settings: func(s *http1.Settings) {
		s.MaxBody, s.MaxHeader, s.MaxURI = 100_000, 8<<10, 1<<10
		s.HeaderTimeout = 300 * time.Millisecond
	}})
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		name, raw string
		status    int
		reason    string
		backend   int // requests that may reach it
	}{
		{"target", "GET /" + strings.Repeat(long, 11) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long", 0},
		{"target without end", "GET /" + strings.Repeat(long, 11), 414, "uri_too_long", 0},
		{"head", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: "+long+"\r\n", 90) + "\r\n", 431, "header_too_large", 0},
		{"one long line", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat(long, 90), 431, "header_too_large", 0},
		{"fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X:\r\n", 200) + "\r\n", 431, "header_too_large", 0},
		{"trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: "+long+"\r\n", 90) + "\r\n", 431, "header_too_large", 0},
		{"body by its length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n", 413, "body_too_large", 0},
		{"chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("3e8\r\n"+strings.Repeat(long, 10)+"\r\n", 101), 413, "body_too_large", 1},
		{"head that does not come", "GET / HTTP/1.1\r\nHost: a\r\nX", 408, "header_timeout", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := backend.Requests()
			c := newClient(t, r.dial())
			c.send(test.raw)
			a := c.answer("POST")
			if a.status != test.status || !strings.HasPrefix(a.get("X-Weir-Reason"), test.reason) {
				t.Errorf("got %q, want %d %s", a.head, test.status, test.reason)
			}
			c.CloseWrite()
			c.closed()
			if n := backend.Requests() - before; n > test.backend {
				t.Errorf("%d requests reached the backend", n)
			}
		})
	}
	t.Run("body at the bound", func(t *testing.T) {
		c := newClient(t, r.dial())
		c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat(long, 1000))
		if a := c.answer("POST"); a.status != 200 || len(a.body) != 100_000 {
			t.Errorf("got %q and %d bytes", a.head, len(a.body))
		}
	})
}
