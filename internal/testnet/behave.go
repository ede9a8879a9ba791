package testnet

import (
	"fmt"
	"strings"
	"time"
)

// The Scripts below are backends as they are met in the field. Each answers
// right until the point its name tells of. Where they send a body it is Body.

// Body is the body of every good answer.
const Body = "the quick brown fox jumps over the lazy dog"

// Response builds an answer with a body of known length. headers are lines
// without their ends.
func Response(status int, body string, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\nContent-Length: %d\r\n", status, reason[status], len(body))
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.String()
}

var reason = map[int]string{200: "OK", 400: "Bad Request", 413: "Content Too Large", 500: "Internal Server Error", 503: "Service Unavailable"}

// each reads requests and calls answer until it returns false or the client
// closes.
func each(c *BackendConn, answer func(r *Request) bool) {
	for {
		r, err := c.ReadRequest()
		if err != nil || !answer(r) {
			return
		}
	}
}

// Good answers every request with Body and keeps the connection. A HEAD gets no
// body; after `Connection: close` it closes.
func Good(c *BackendConn) {
	each(c, func(r *Request) bool { return c.good(r, Body) })
}

// good sends one right answer, and says whether the connection goes on.
func (c *BackendConn) good(r *Request, body string, headers ...string) bool {
	last := strings.EqualFold(r.Get("Connection"), "close")
	if last {
		headers = append(headers, "Connection: close")
	}
	text := Response(200, body, headers...)
	if r.Method == "HEAD" {
		text = strings.TrimSuffix(text, body)
	}
	return c.Send(text) == nil && !last
}

// Echo answers with the request's body, and says in X-Connection and X-Request
// which connection of the backend it was and the how-manieth request on it.
// X-Target is the request's target.
func Echo(c *BackendConn) {
	each(c, func(r *Request) bool {
		return c.good(r, string(r.Body), fmt.Sprintf("X-Connection: %d", c.ID), fmt.Sprintf("X-Request: %d", c.Served), "X-Target: "+r.Target)
	})
}

// CloseIdleAfter is Good but closes a connection that was idle for d.
func CloseIdleAfter(d time.Duration) Script {
	return func(c *BackendConn) {
		for {
			c.SetReadDeadline(time.Now().Add(d))
			if _, err := c.R.Peek(1); err != nil {
				return
			}
			c.SetReadDeadline(time.Time{})
			r, err := c.ReadRequest()
			if err != nil || !c.good(r, Body) {
				return
			}
		}
	}
}

// CloseAfter answers n requests on a connection and then closes it without
// having said so.
func CloseAfter(n int) Script {
	return func(c *BackendConn) {
		each(c, func(r *Request) bool { return c.good(r, Body) && c.Served < n })
	}
}

// CloseBeforeAnswer answers n requests on a connection, reads one more, and
// closes without a byte of answer.
func CloseBeforeAnswer(n int) Script {
	return func(c *BackendConn) {
		each(c, func(r *Request) bool { return c.Served <= n && c.good(r, Body) })
	}
}

// ResetBeforeAnswer is CloseBeforeAnswer with a reset.
func ResetBeforeAnswer(n int) Script {
	return func(c *BackendConn) {
		each(c, func(r *Request) bool {
			if c.Served <= n {
				return c.good(r, Body)
			}
			c.Reset()
			return false
		})
	}
}

// ResetMidBody sends half the body and resets the connection.
func ResetMidBody(c *BackendConn) {
	each(c, func(*Request) bool {
		text := Response(200, Body)
		c.Send(text[:len(text)-len(Body)/2])
		c.Reset()
		return false
	})
}

// HalfHead sends half a head and closes.
func HalfHead(c *BackendConn) {
	each(c, func(*Request) bool {
		c.Send("HTTP/1.1 200 OK\r\nContent-Le")
		return false
	})
}

// Garbage answers with what is no HTTP.
func Garbage(c *BackendConn) {
	each(c, func(*Request) bool { return c.Send("\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n") == nil })
}

// Twice answers every request twice.
func Twice(c *BackendConn) {
	each(c, func(*Request) bool { return c.Send(Response(200, Body)+Response(200, "POISON")) == nil })
}

// ExtraBytes answers with more bytes than Content-Length says.
func ExtraBytes(c *BackendConn) {
	each(c, func(*Request) bool { return c.Send(Response(200, Body)+"extra") == nil })
}

// Unasked answers right and then, after an idle time of d, sends an answer that
// nobody asked for.
func Unasked(d time.Duration) Script {
	return func(c *BackendConn) {
		each(c, func(r *Request) bool {
			if !c.good(r, Body) {
				return false
			}
			return c.Pause(d) && c.Send(Response(200, "POISON")) == nil
		})
	}
}

// Truncated promises the whole body, sends half of it and closes.
func Truncated(c *BackendConn) {
	each(c, func(*Request) bool {
		text := Response(200, Body)
		c.Send(text[:len(text)-len(Body)/2])
		return false
	})
}

// TruncatedChunks closes in the middle of a chunked body.
func TruncatedChunks(c *BackendConn) {
	each(c, func(*Request) bool {
		c.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\nonly")
		return false
	})
}

// Chunked answers right, in chunks of size bytes with an extension and a trailer.
func Chunked(size int) Script {
	return func(c *BackendConn) {
		each(c, func(*Request) bool {
			var b strings.Builder
			b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
			for rest := Body; rest != ""; {
				n := min(size, len(rest))
				fmt.Fprintf(&b, "%x;note=1\r\n%s\r\n", n, rest[:n])
				rest = rest[n:]
			}
			b.WriteString("0\r\nX-Sum: 1\r\n\r\n")
			return c.Send(b.String()) == nil
		})
	}
}

// UntilClose sends a body without any framing and closes, as HTTP/1.0 does.
func UntilClose(c *BackendConn) {
	each(c, func(*Request) bool {
		c.Send("HTTP/1.0 200 OK\r\n\r\n" + Body)
		return false
	})
}

// BothFramings answers with Content-Length and Transfer-Encoding at once, the
// stuff of response smuggling.
func BothFramings(c *BackendConn) {
	each(c, func(*Request) bool {
		return c.Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n") == nil
	})
}

// StallBeforeHead reads the request and never answers.
func StallBeforeHead(c *BackendConn) {
	each(c, func(*Request) bool { c.Stall(); return false })
}

// StallMidBody sends half the body and then nothing.
func StallMidBody(c *BackendConn) {
	each(c, func(*Request) bool {
		text := Response(200, Body)
		c.Send(text[:len(text)-len(Body)/2])
		c.Stall()
		return false
	})
}

// Late answers right, d after the request was read.
func Late(d time.Duration) Script {
	return func(c *BackendConn) {
		each(c, func(r *Request) bool { return c.Pause(d) && c.good(r, Body) })
	}
}

// Slow sends every answer in pieces of size bytes, one each gap.
func Slow(size int, gap time.Duration) Script {
	return func(c *BackendConn) {
		each(c, func(*Request) bool {
			for rest := Response(200, Body); rest != ""; {
				n := min(size, len(rest))
				if c.Send(rest[:n]) != nil || !c.Pause(gap) {
					return false
				}
				rest = rest[n:]
			}
			return true
		})
	}
}

// Early answers as soon as the head is there, before it reads the body, and then
// reads the body. An Expect is not honoured.
func Early(status int) Script {
	return func(c *BackendConn) {
		for {
			r, err := c.ReadHead()
			if err != nil || c.Send(Response(status, Body)) != nil || c.ReadBody(r) != nil {
				return
			}
		}
	}
}

// EarlyClose answers as soon as the head is there, says that it closes, and
// closes with the body unread.
func EarlyClose(status int) Script {
	return func(c *BackendConn) {
		if _, err := c.ReadHead(); err == nil {
			c.Send(Response(status, Body, "Connection: close"))
		}
	}
}

// Interim sends a 103 with a link before every right answer.
func Interim(c *BackendConn) {
	each(c, func(r *Request) bool {
		return c.Send("HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n") == nil && c.good(r, Body)
	})
}

// SaysClose answers right, says that it closes, and leaves the closing to the
// other side for d.
func SaysClose(d time.Duration) Script {
	return func(c *BackendConn) {
		each(c, func(r *Request) bool {
			c.Send(Response(200, Body, "Connection: close"))
			c.SetReadDeadline(time.Now().Add(d))
			c.Stall()
			return false
		})
	}
}

// Upgrade answers 101 and then sends back whatever comes.
func Upgrade(c *BackendConn) {
	each(c, func(*Request) bool {
		if c.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n") != nil {
			return false
		}
		c.R.WriteTo(c.Conn)
		return false
	})
}

// Phases uses one script for the first n connections and another from then on:
// a backend that was replaced.
func Phases(n int, first, then Script) Script {
	return func(c *BackendConn) {
		if c.ID <= n {
			first(c)
		} else {
			then(c)
		}
	}
}
