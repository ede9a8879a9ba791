package fault

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// Form picks one of the ways an answer is written. Forms are added up.
type Form uint8

const (
	Close  Form = 1 << iota // with "Connection: close"; the caller closes after it
	NoBody                  // for HEAD: the same head, Content-Length included, and no body (RFC 9110, section 9.3.2)
	HTTP10                  // for a client of HTTP/1.0: keeping the connection has to be said

	forms
)

// retrySpread is the longest Retry-After, in seconds. Each answer says 1 to
// retrySpread at random, so that those who are refused together do not come
// back together. Whole seconds are all the field can say (RFC 9110, section
// 10.2.3); 3 brings a third of them back a second, and is still soon.
const retrySpread = 3

// Answer is a whole HTTP response, rendered in every form beforehand, so that a
// refusal under overload costs one write and no formatting.
type Answer struct {
	// One set of forms per Retry-After value; a single one without the field.
	rendered [][forms][]byte
	bare     [forms][]byte // of one with Retry-After: without it
}

// answers holds the plain answer of every Kind.
var answers = func() (out [kinds]Answer) {
	for k := range out {
		if writable(Kind(k)) {
			out[k] = render(&table[k], table[k].Label, table[k].Text)
		}
	}
	return out
}()

// writable says whether a Kind has an answer: nobody reads that of a client who
// has left, and None and what HTTP does not have are no faults of a request.
func writable(k Kind) bool { return table[k].Status != 0 && k != ClientGone }

// Response returns the Kind's answer to an HTTP/1.1 request with a body, or nil
// for a Kind that is never written. The bytes are shared: read only. An answer
// to a Kind that Closes always says so, whatever close is; test Closes.
func (k Kind) Response(close bool) []byte {
	if close {
		return k.Answer().Bytes(Close)
	}
	return k.Answer().Bytes(0)
}

// Answer returns the Kind's answer in all its forms.
func (k Kind) Answer() *Answer {
	if k >= kinds {
		k = Internal
	}
	return &answers[k]
}

// With renders the Kind's answer with a finer label and text, as the scanner
// has them for a bad request. It is for package variables: it allocates.
// The label goes into X-Weir-Reason after the Kind's own, as in
// "bad_request/obs_fold". Both must be printable ASCII.
func (k Kind) With(sub, text string) *Answer {
	r := k.row()
	if text == "" {
		text = r.Text
	}
	a := render(r, r.Label+"/"+sub, text)
	return &a
}

// Closes says whether the client's connection cannot be used on after this
// fault, whatever else the session thinks.
func (k Kind) Closes() bool { return k.row().Closes }

// Bytes returns the whole answer, shared and read only; nil where there is none.
func (a *Answer) Bytes(f Form) []byte {
	switch n := len(a.rendered); n {
	case 0:
		return nil
	case 1:
		return a.rendered[0][f&(forms-1)]
	default:
		return a.rendered[rand.IntN(n)][f&(forms-1)]
	}
}

// Append appends the answer with header lines of the caller's, each with its
// CRLF, in place of the Retry-After that it has by itself. It allocates nothing
// where dst has room.
func (a *Answer) Append(dst []byte, f Form, lines []byte) []byte {
	b := a.bare[f&(forms-1)]
	if b == nil {
		b = a.Bytes(f)
	}
	status := bytes.IndexByte(b, '\n') + 1
	dst = append(dst, b[:status]...)
	dst = append(dst, lines...)
	return append(dst, b[status:]...)
}

func render(r *Row, label, text string) Answer {
	if !r.RetryAfter {
		return Answer{rendered: [][forms][]byte{renderForms(r, label, text, 0)}}
	}
	a := Answer{bare: renderForms(r, label, text, 0)}
	for s := range retrySpread {
		a.rendered = append(a.rendered, renderForms(r, label, text, s+1))
	}
	return a
}

func renderForms(r *Row, label, text string, retryAfter int) (out [forms][]byte) {
	body := "weir: " + text + "\n"
	for f := range forms {
		// The status line says HTTP/1.1 to clients of HTTP/1.0 too: the
		// version is the server's, not the answer's (RFC 9110, section 6.2).
		b := []byte("HTTP/1.1 ")
		b = strconv.AppendInt(b, int64(r.Status), 10)
		b = append(b, ' ')
		b = append(b, http.StatusText(r.Status)...)
		b = append(b, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		// Some of the statuses may be stored without being told to (RFC 9110,
		// section 15.1), and a cache in front must not keep a refusal.
		b = append(b, "\r\nCache-Control: no-store\r\nX-Weir-Reason: "...)
		b = append(b, label...)
		b = append(b, "\r\n"...)
		if retryAfter > 0 {
			b = append(b, "Retry-After: "...)
			b = strconv.AppendInt(b, int64(retryAfter), 10)
			b = append(b, "\r\n"...)
		}
		switch {
		case f&Close != 0 || r.Closes:
			b = append(b, "Connection: close\r\n"...)
		case f&HTTP10 != 0:
			b = append(b, "Connection: keep-alive\r\n"...)
		}
		b = append(b, "\r\n"...)
		if f&NoBody == 0 {
			b = append(b, body...)
		}
		out[f] = b
	}
	return out
}
