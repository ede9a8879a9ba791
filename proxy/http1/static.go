package http1

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"

	"weir/proxy/fault"
)

// overloads are the faults at which a backend's Static stands in for weir's own
// text: there is too much to do at the backend or on the way to it, or it is left
// alone, by its breaker or by a hand. A limits block is none of them: what it refuses
// is one client's affair, or a rule's, and it says to a program when to come
// again. Nor is a backend that fails: that is an error, and looks like one.
var overloads = [...]fault.Kind{fault.Shed, fault.QueueFull, fault.QueueTimeout, fault.BreakerOpen}

// Static is a page of the operator's for clients that are turned away for a
// backend's load. Its heads are those of the faults, X-Weir-Reason included, with
// another status, type and length. They are rendered once, so that an answer
// costs no formatting and no allocation; all share one body. It is safe for
// concurrent use.
type Static struct {
	ok   bool // GET and HEAD get 200
	body []byte
	busy [len(overloads)][retrySpread][staticForms][]byte // heads of 503, by Retry-After
	fine [len(overloads)][staticForms][]byte              // heads of 200
}

// staticForms are all sums of fault.Form.
const staticForms = fault.HTTP10 << 1

// NewStatic renders a page of that type. ok says that GET and HEAD get it with
// status 200, for what stands in front and would put a page of its own in the place
// of a 503. Other methods get 503 in any case: after 200 a client that sent an order
// would believe that it was taken. The body is kept, and must not change.
func NewStatic(ok bool, contentType string, body []byte) *Static {
	a := &Static{ok: ok, body: body}
	for i, k := range overloads {
		for f := range staticForms {
			a.fine[i][f] = staticHead(k, f, http.StatusOK, contentType, len(body), "")
			for n := range retrySpread {
				a.busy[i][n][f] = staticHead(k, f, k.Status(), contentType, len(body), fmt.Sprintf("Retry-After: %d\r\n", n+1))
			}
		}
	}
	return a
}

// staticHead is the head of k's own answer with another status, type and length.
func staticHead(k fault.Kind, f fault.Form, status int, contentType string, length int, retryAfter string) (head []byte) {
	for line := range bytes.Lines(k.Answer().Append(nil, f|fault.NoBody, []byte(retryAfter))) {
		switch name, _, _ := bytes.Cut(line, []byte(":")); {
		case len(head) == 0:
			line = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
		case string(name) == "Content-Type":
			line = fmt.Appendf(nil, "Content-Type: %s\r\n", contentType)
		case string(name) == "Content-Length":
			line = fmt.Appendf(nil, "Content-Length: %d\r\n", length)
		}
		head = append(head, line...)
	}
	return head
}

// answer is the page for a fault, nil where it is not for that one, or a is nil.
// The bytes are shared: read only.
func (a *Static) answer(k fault.Kind, v Verb, f fault.Form) (status int, head, body []byte) {
	i := slices.Index(overloads[:], k)
	if a == nil || i < 0 {
		return 0, nil, nil
	}
	status, head = k.Status(), a.busy[i][rand.IntN(retrySpread)][f]
	if a.ok && (v == VerbGET || v == VerbHEAD) {
		status, head = http.StatusOK, a.fine[i][f]
	}
	if f&fault.NoBody == 0 {
		body = a.body
	}
	return status, head, body
}

// page is the answer of the route's backend for a fault; as Static.answer.
func (s *session) page(k fault.Kind, f fault.Form) (status int, head, body []byte) {
	if s.route == nil {
		return 0, nil, nil
	}
	return s.route.Backend.Static.answer(k, s.req.Verb, f)
}
