//go:build !race

package http1

import "testing"

// The race detector allocates on its own, so these hold without it.
func TestNothingIsAllocatedPerRequest(t *testing.T) {
	router, err := NewRouter([]Rule{{"*.shop.test", "/static/"}, {"*.shop.test", "/"}, {"", "/"}})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	req, resp := new(Request), new(Response)
	rewritten := []byte(crlf("GET http://www.Shop.test/a HTTP/1.1", "Host: www.shop.test", "X-Forwarded-For: 1.1.1.1", "X_A: b", "Connection: x, upgrade", "X: y", "Upgrade: h2c"))
	trusted := RequestEdit{Forward: ForwardAppend, RFC7239: true, ClientIP: []byte("::1"), Proto: []byte("http"), RequestID: []byte("x"), Remove: []string{"x-a"}}
	refused := []byte(crlf("GET / HTTP/1.1", "Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"))
	keepAlive := []byte(crlf("HTTP/1.1 200 OK", "Keep-Alive: max=5, timeout=5", "Transfer-Encoding: chunked"))
	body := []byte("3;a\r\nabc\r\n0\r\nX: y\r\n\r\n")
	path := []byte("/static%20/x")
	for name, f := range map[string]func(){
		"request": func() {
			req.Reset()
			req.Parse(browserHead, benchLimits)
			dst = AppendRequest(dst[:0], browserHead, req, &benchEdit)
		},
		"request rewritten": func() {
			req.Reset()
			req.Parse(rewritten, benchLimits)
			dst = AppendRequest(dst[:0], rewritten, req, &trusted)
		},
		"request refused": func() {
			req.Reset()
			req.Parse(refused, benchLimits)
		},
		"route": func() { router.Match(req.Host.of(rewritten), path) },
		"response": func() {
			resp.Reset(VerbGET, false)
			resp.Parse(responseHead, benchLimits)
			dst = AppendResponse(dst[:0], responseHead, resp, &ResponseEdit{Conn: ConnClose})
		},
		"response with keep-alive": func() {
			resp.Reset(VerbGET, false)
			resp.Parse(keepAlive, benchLimits)
			dst = AppendResponse(dst[:0], keepAlive, resp, &ResponseEdit{Chunked: true, Remove: []string{"server"}})
		},
		"chunked": func() {
			var c Chunked
			c.Start(true, 1024)
			for b := body; ; {
				data, n, done, rej := c.Next(b)
				if dst = append(dst[:0], data...); done || rej != nil {
					break
				}
				b = b[n:]
			}
			c.Start(true, 1024)
			c.Verbatim(body)
			dst = AppendChunkHeader(dst[:0], 4096)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
