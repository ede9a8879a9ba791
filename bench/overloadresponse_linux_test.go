//go:build bench

package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"
)

// plainRequest and firstRequest are what clients of HTTP send; the second is of
// class 1.
var (
	plainRequest = []byte("GET / HTTP/1.1\r\nHost: overload.test\r\n\r\n")
	firstRequest = []byte("GET / HTTP/1.1\r\nHost: overload.test\r\nX-Priority: 1\r\n\r\n")
)

// httpProtocol is HTTP/1.1, as far as the backend of the overload runs and the
// proxies before it speak it.
type httpProtocol struct{}

func (httpProtocol) login([]byte) (login, bool, error) { return login{done: true}, true, nil }

func (httpProtocol) request(first bool) []byte {
	if first {
		return firstRequest
	}
	return plainRequest
}

func (httpProtocol) answer(b []byte) (a answer, ok bool, err error) {
	a, ok, err = readHead(b)
	return a, ok && len(b) >= a.size, err
}

// readHead reads the head of a response; ok is false where b does not hold all
// of it yet. It allocates nothing, for there are 10,000 a second.
func readHead(b []byte) (h answer, ok bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return h, false, nil
	}
	line, rest, _ := bytes.Cut(b[:end+2], []byte("\r\n"))
	version, code, _ := bytes.Cut(line, []byte(" "))
	if len(code) < 3 || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return h, false, fmt.Errorf("not a response: %.60q", line)
	}
	if h.result, err = strconv.Atoi(string(code[:3])); err != nil || h.result < 200 {
		return h, false, fmt.Errorf("not a final status: %.60q", line)
	}
	length := -1
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return h, false, fmt.Errorf("not a length: %.60q", line)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			h.closing = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return h, false, fmt.Errorf("a response without Content-Length: %.200q", b[:end])
	}
	h.size = end + 4 + length
	return h, true, nil
}

func TestTheHeadOfAResponseIsReadAsFarAsItIsNeeded(t *testing.T) {
	for _, c := range []struct {
		in   string
		want answer
		ok   bool
		bad  bool
	}{
		{in: "HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length:  3\r\n\r\nabc", want: answer{result: 200, size: 53}, ok: true},
		{in: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", want: answer{503, 74, true}, ok: true},
		{in: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"},
		{in: ""},
		{in: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", bad: true},
		{in: "HTTP/1.1 100 Continue\r\n\r\n", bad: true},
		{in: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", bad: true},
		{in: "220 ready\r\n\r\n", bad: true},
	} {
		got, ok, err := readHead([]byte(c.in))
		if ok != c.ok || (err != nil) != c.bad || ok && got != c.want {
			t.Errorf("%q: %+v, %v, %v; want %+v, %v, bad: %v", c.in, got, ok, err, c.want, c.ok, c.bad)
		}
	}
}
