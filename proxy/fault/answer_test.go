package fault

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"testing"
)

// allForms returns every Form and every sum of them.
func allForms() []Form {
	out := make([]Form, 0, forms)
	for f := range forms {
		out = append(out, f)
	}
	return out
}

// check reads an answer as a client would, and compares all that it says.
func check(t *testing.T, k Kind, label, text string, f Form, raw []byte) {
	t.Helper()
	r := k.Row()
	method := "GET"
	if f&NoBody != 0 {
		method = "HEAD"
	}
	br := bufio.NewReader(bytes.NewReader(raw))
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s form %d: %v\n%q", k, f, err, raw)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s form %d: body: %v", k, f, err)
	}
	if br.Buffered() != 0 {
		t.Errorf("%s form %d: %d bytes follow the answer", k, f, br.Buffered())
	}
	if resp.StatusCode != r.Status || resp.Proto != "HTTP/1.1" || resp.Status != strconv.Itoa(r.Status)+" "+http.StatusText(r.Status) {
		t.Errorf("%s form %d: %s %s", k, f, resp.Proto, resp.Status)
	}
	full := "weir: " + text + "\n"
	if f&NoBody != 0 {
		if len(body) != 0 || resp.Header.Get("Content-Length") != strconv.Itoa(len(full)) {
			t.Errorf("%s form %d: HEAD wants no body and length %d, got %q and %s", k, f, len(full), body, resp.Header.Get("Content-Length"))
		}
	} else if string(body) != full {
		t.Errorf("%s form %d: body %q, want %q", k, f, body, full)
	}
	if got := resp.Header.Get("X-Weir-Reason"); got != label {
		t.Errorf("%s form %d: X-Weir-Reason %q, want %q", k, f, got, label)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("%s form %d: Content-Type %q", k, f, got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s form %d: Cache-Control %q", k, f, got)
	}
	after := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(after); r.RetryAfter && (err != nil || n < 1 || n > retrySpread) || !r.RetryAfter && after != "" {
		t.Errorf("%s form %d: Retry-After %q", k, f, after)
	}
	wantConn := ""
	switch {
	case r.Closes || f&Close != 0:
		wantConn = "close"
	case f&HTTP10 != 0:
		wantConn = "keep-alive"
	}
	// ReadResponse takes Connection: close out of the header and sets Close.
	conn := resp.Header.Get("Connection")
	if resp.Close {
		conn = "close"
	}
	if conn != wantConn {
		t.Errorf("%s form %d: Connection %q, want %q", k, f, conn, wantConn)
	}
}

func TestEveryAnswerReadsBackInEveryForm(t *testing.T) {
	for _, k := range Kinds() {
		if !writable(k) {
			continue
		}
		for _, f := range allForms() {
			check(t, k, k.String(), k.Row().Text, f, k.Answer().Bytes(f))
		}
		if got := k.Response(false); !k.Row().RetryAfter && !bytes.Equal(got, k.Answer().Bytes(0)) {
			t.Errorf("%s: Response(false) is not form 0", k)
		}
		check(t, k, k.String(), k.Row().Text, Close, k.Response(true))
		check(t, k, k.String(), k.Row().Text, 0, k.Response(false))
	}
}

func TestTheAnswerIsWhatTheWireShallSee(t *testing.T) {
	const want = "HTTP/1.1 504 Gateway Timeout\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: 80\r\n" +
		"Cache-Control: no-store\r\n" +
		"X-Weir-Reason: response_timeout\r\n" +
		"Connection: close\r\n" +
		"\r\n" +
		"weir: the service did not answer in time; the request may have been carried out\n"
	if got := string(ResponseTimeout.Response(true)); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestAClientThatLeftIsNotAnswered(t *testing.T) {
	for _, k := range []Kind{None, ClientGone} {
		for _, f := range allForms() {
			if b := k.Answer().Bytes(f); b != nil {
				t.Errorf("%s form %d: %q", k, f, b)
			}
		}
		if k.Response(true) != nil || k.Response(false) != nil {
			t.Errorf("%s has a response", k)
		}
	}
}

func TestRefusalsAreSpreadOverTheNextSeconds(t *testing.T) {
	var seen []string
	for range 1000 { // 1000 draws miss one of three values with a chance of 3*(2/3)^1000
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(QueueFull.Response(false))), nil)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, resp.Header.Get("Retry-After"))
	}
	slices.Sort(seen)
	if got := slices.Compact(seen); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("Retry-After was one of %v, want 1, 2 and 3", got)
	}
}

func TestAnAnswerTakesTheCallersLines(t *testing.T) {
	for _, k := range []Kind{LimitPerRate, BadRequest} {
		raw := k.Answer().Append([]byte("before"), Close, []byte("Retry-After: 7\r\nX-More: 1\r\n"))
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw[len("before"):])), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header["Retry-After"]; !slices.Equal(got, []string{"7"}) || resp.Header.Get("X-More") != "1" || !resp.Close {
			t.Errorf("%s: %q", k, raw)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "weir: "+k.Row().Text+"\n" {
			t.Errorf("%s: body %q, %v", k, body, err)
		}
	}
}

func TestWithGivesAFinerReasonAndText(t *testing.T) {
	a := BadRequest.With("obs_fold", "a header line is folded (RFC 9112 section 5.2)")
	for _, f := range allForms() {
		check(t, BadRequest, "bad_request/obs_fold", "a header line is folded (RFC 9112 section 5.2)", f, a.Bytes(f))
	}
	b := BadResponse.With("status_line", "")
	check(t, BadResponse, "bad_response/status_line", BadResponse.Row().Text, 0, b.Bytes(0))
}
