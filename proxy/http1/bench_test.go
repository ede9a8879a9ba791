package http1

import "testing"

// browserHead is what a browser sends, 10 fields.
var browserHead = []byte(crlf("GET /products/list?page=2&sort=price HTTP/1.1",
	"Host: shop.test",
	"Connection: keep-alive",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"Accept-Language: en-US,en;q=0.5",
	"Accept-Encoding: gzip, deflate, br",
	"Referer: http://shop.test/products",
	"Cookie: session=0123456789abcdef",
	"Upgrade-Insecure-Requests: 1",
	"Cache-Control: max-age=0"))

var minimalHead = []byte(crlf("GET / HTTP/1.1", "Host: 127.0.0.1:8080"))

var responseHead = []byte(crlf("HTTP/1.1 200 OK",
	"Date: Sun, 22 Nov 2026 12:00:00 GMT",
	"Server: nginx",
	"Content-Type: text/html; charset=utf-8",
	"Content-Length: 43",
	"Connection: keep-alive",
	"ETag: \"5f3c-2b\""))

var (
	benchLimits = Limits{MaxHeader: 32 << 10, MaxURI: 8 << 10}
	benchEdit   = RequestEdit{Forward: ForwardReplace, ClientIP: []byte("192.0.2.1"), Proto: []byte("http"), Via: []byte("1.1 weir")}
)

func BenchmarkParseBrowserHead(b *testing.B) { benchParse(b, browserHead) }
func BenchmarkParseMinimalHead(b *testing.B) { benchParse(b, minimalHead) }

func benchParse(b *testing.B, head []byte) {
	r := new(Request)
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset()
		if done, rej := r.Parse(head, benchLimits); !done {
			b.Fatal(rej)
		}
	}
}

func BenchmarkParseResponseHead(b *testing.B) {
	r := new(Response)
	b.SetBytes(int64(len(responseHead)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(VerbGET, false)
		if done, rej := r.Parse(responseHead, benchLimits); !done {
			b.Fatal(rej)
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	r, _, _ := parseRequest(browserHead, benchLimits)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRequest(dst[:0], browserHead, r, &benchEdit)
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	r, _, _ := parseResponse(responseHead, testLimits, VerbGET, false)
	dst := make([]byte, 0, 4096)
	e := ResponseEdit{Conn: ConnClose}
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], responseHead, r, &e)
	}
}

func BenchmarkMatch(b *testing.B) {
	t, err := NewRouter([]Rule{{"*.shop.test", "/static/"}, {"*.shop.test", "/"}, {"", "/"}})
	if err != nil {
		b.Fatal(err)
	}
	host, path := []byte("www.Shop.test:8080"), []byte("/products/list/of/all")
	b.ReportAllocs()
	for b.Loop() {
		t.Match(host, path)
	}
}

func BenchmarkVerbatimChunks(b *testing.B) {
	body := []byte("1000\r\n" + string(make([]byte, 4096)) + "\r\n0\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		var c Chunked
		c.Start(true, 4096)
		if _, done := c.Verbatim(body); !done {
			b.Fatal("not whole")
		}
	}
}
