package storm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"
)

// The bounds of a response: a storm is about connections.
const (
	maxHead = 16 << 10
	maxBody = 64 << 20
)

// request renders the one request that is sent all the time.
func request(u *url.URL, m Mode) []byte {
	closing := ""
	if m == ServerCloses {
		closing = "Connection: close\r\n"
	}
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: weir-storm\r\n%s\r\n", u.RequestURI(), u.Host, closing)
}

// httpClient is a client of an HTTP target.
type httpClient struct {
	s       *run
	link    *link
	request []byte
	br      *bufio.Reader // of link
	resp    fasthttp.Response
}

func newHTTPClient(s *run, l *link, request []byte) *httpClient {
	return &httpClient{s: s, link: l, request: request, br: bufio.NewReaderSize(nil, maxHead)}
}

func (h *httpClient) hangUp() { h.link.hangUp() }

func (h *httpClient) once(ctx context.Context, deadline time.Time) error {
	if h.link.conn == nil {
		if err := h.link.dial(ctx, &h.s.t, deadline); err != nil {
			return err
		}
		h.br.Reset(h.link)
	} else if err := h.link.arm(deadline); err != nil {
		return err
	}
	if _, err := h.link.Write(h.request); err != nil {
		return err
	}
	h.resp.Reset()
	if err := h.resp.ReadLimitBody(h.br, maxBody); err != nil {
		return h.explain(err)
	}
	if code := h.resp.StatusCode(); code >= 400 {
		return statusRefusal(code, h.resp.Header.Peek("X-Weir-Reason"))
	}
	switch h.s.o.Mode {
	case Keepalive:
		if h.resp.ConnectionClose() {
			h.hangUp()
		}
	case ServerCloses:
		if _, err := h.br.ReadByte(); err != io.EOF {
			return tailError(err)
		}
		h.hangUp()
	default:
		h.hangUp()
	}
	return nil
}

// What is wrong with an answer. The texts are kinds.
var (
	errMalformed = errors.New("the answer is not valid HTTP")
	errLongHead  = fmt.Errorf("the answer's head is over %d KiB", maxHead>>10)
	errLongBody  = fmt.Errorf("the answer's body is over %d MiB", maxBody>>20)
)

// explain returns what is behind an error of the parser, in none of its words:
// they have a part of the answer, and advice for its own callers.
func (h *httpClient) explain(err error) error {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case h.link.err == io.EOF && h.link.some:
		return errHalf
	case h.link.err != nil:
		return h.link.err
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return errLongBody
	case errors.As(err, &small):
		return errLongHead
	}
	return errMalformed
}

// statusRefusal names the status, and weir's reason where the answer has one.
func statusRefusal(code int, reason []byte) refusal {
	if isReason(reason) {
		return refusal(fmt.Sprintf("status %d (%s)", code, reason))
	}
	return refusal(fmt.Sprintf("status %d", code))
}

// isReason says whether b is short and plain enough to be shown.
func isReason(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '/' {
			return false
		}
	}
	return 0 < len(b) && len(b) <= 64
}
