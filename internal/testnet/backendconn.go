package testnet

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// BackendConn is one connection of a Backend, in the hands of its Script.
type BackendConn struct {
	net.Conn
	R       *bufio.Reader
	ID      int             // 1 for the backend's first connection
	Served  int             // requests read on this connection
	Stopped <-chan struct{} // closed when the backend is being stopped
	b       *Backend
}

// Request is one that a BackendConn read.
type Request struct {
	Method, Target, Proto string
	Header                []string // lines as they came, in order
	Body                  []byte   // after ReadBody
	length                int64    // -1: chunked
}

// Get returns the value of the first field of that name, or "".
func (r *Request) Get(name string) string {
	for _, line := range r.Header {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// ReadHead reads a request up to its body. It returns io.EOF where the client
// closed between requests.
func (c *BackendConn) ReadHead() (*Request, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	r := new(Request)
	parts := strings.Split(line, " ")
	if len(parts) != 3 {
		return nil, fmt.Errorf("testnet: request line %q", line)
	}
	r.Method, r.Target, r.Proto = parts[0], parts[1], parts[2]
	for {
		line, err := c.line()
		if err != nil {
			return nil, unexpected(err)
		}
		if line == "" {
			break
		}
		r.Header = append(r.Header, line)
	}
	if strings.EqualFold(r.Get("Transfer-Encoding"), "chunked") {
		r.length = -1
	} else if v := r.Get("Content-Length"); v != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			return nil, fmt.Errorf("testnet: content-length %q", v)
		}
		r.length = int64(n)
	}
	c.Served++
	c.b.requests.Add(1)
	return r, nil
}

// ReadBody reads the body that belongs to r into r.Body.
func (c *BackendConn) ReadBody(r *Request) error {
	if r.length >= 0 {
		r.Body = make([]byte, r.length)
		_, err := io.ReadFull(c.R, r.Body)
		return unexpected(err)
	}
	for {
		line, err := c.line()
		if err != nil {
			return unexpected(err)
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(size, 16, 31)
		if err != nil {
			return fmt.Errorf("testnet: chunk size %q", line)
		}
		if n == 0 {
			break
		}
		at := len(r.Body)
		r.Body = append(r.Body, make([]byte, n)...)
		if _, err := io.ReadFull(c.R, r.Body[at:]); err != nil {
			return unexpected(err)
		}
		if line, err := c.line(); err != nil || line != "" {
			return fmt.Errorf("testnet: %q after a chunk (%w)", line, unexpected(err))
		}
	}
	for { // trailers
		line, err := c.line()
		if err != nil {
			return unexpected(err)
		}
		if line == "" {
			return nil
		}
	}
}

// ReadRequest reads a request whole.
func (c *BackendConn) ReadRequest() (*Request, error) {
	r, err := c.ReadHead()
	if err != nil {
		return nil, err
	}
	return r, c.ReadBody(r)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads up to CRLF. A bare LF is refused: nothing that stands in front of a
// backend may send one.
func (c *BackendConn) line() (string, error) {
	s, err := c.R.ReadString('\n')
	if err != nil {
		if s != "" {
			err = unexpected(err)
		}
		return "", err
	}
	if !strings.HasSuffix(s, "\r\n") {
		return "", fmt.Errorf("testnet: line %q ends in a bare LF", s)
	}
	return s[:len(s)-2], nil
}

// Send writes text. An error ends the script by its next read.
func (c *BackendConn) Send(text string) error {
	_, err := io.WriteString(c.Conn, text)
	return err
}

// Reset closes the connection with an RST.
func (c *BackendConn) Reset() { abort(c.Conn) }

// Pause waits for d. It returns false, and at once, when the backend is
// stopped.
func (c *BackendConn) Pause(d time.Duration) bool {
	return Pace(c.Stopped, d)
}

// Stall says nothing until the client closes or the backend is stopped. What the
// client sends meanwhile is read and thrown away.
func (c *BackendConn) Stall() { io.Copy(io.Discard, c.R) }
