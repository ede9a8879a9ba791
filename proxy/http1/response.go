package http1

import (
	"bytes"
	"time"
)

// BodyKind says how the end of a response's body is found (RFC 9112, section 6.3).
type BodyKind uint8

const (
	BodyNone       BodyKind = iota // HEAD, 1xx, 204, 304
	BodyLength                     // ContentLength bytes, which may be 0
	BodyChunked                    // see Chunked
	BodyUntilClose                 // all bytes up to the backend's FIN
)

// Response is the head of a response: what Parse found, as offsets into the
// bytes it was given. Use Reset before each Parse. It is not safe for
// concurrent use. A Response that is kept and Reset needs no memory for a head
// with no more fields than one before it had.
type Response struct {
	Status           int   // 100 to 599
	Minor            uint8 // HTTP/1.Minor
	Reason           Span  // may be empty
	Fields           []Field
	ContentLength    int64 // -1: none
	Chunked          bool
	Body             BodyKind      // for the request named at Reset
	KeepAlive        bool          // the backend will keep the connection open after the body
	KeepAliveTimeout time.Duration // of Keep-Alive: timeout=N; 0: not said
	HeadLen          int           // bytes up to and with the empty line; 0 until Parse is done

	verb      Verb
	asked     bool // a WebSocket handshake was forwarded
	options   options
	seen      uint64
	websocket bool
	lineEnd   uint32 // where the first field line starts
	canonical bool   // the status line can be forwarded as it came
	inFields  bool
	pos       int // start of the line that is being read
	seek      int // no LF in b[pos:seek]
	rej       *Reject
}

// Reset forgets everything but the memory of Fields. v is the verb of the
// request; upgrade says that it was forwarded as a WebSocket handshake, so that
// 101 may come. It is called again after each interim response.
func (r *Response) Reset(v Verb, upgrade bool) {
	*r = Response{Fields: r.Fields[:0], ContentLength: -1, verb: v, asked: upgrade}
}

// Has says whether a field with this ID was received.
func (r *Response) Has(id FieldID) bool { return r.seen&(1<<id) != 0 }

// Value returns the value of the first field with this ID, nil without one.
func (r *Response) Value(b []byte, id FieldID) []byte {
	if !r.Has(id) {
		return nil
	}
	return value(b, r.Fields, id)
}

// Interim says that a further response to the same request follows.
func (r *Response) Interim() bool { return r.Status < 200 && r.Status != 101 }

// Parse scans a response head (RFC 9112) at the start of b. While it is
// neither done nor refused it is called again with the same bytes and more
// behind them; only a line that was not whole is looked at twice. Of lim only
// MaxHeader counts.
//
// Backends are held to the rules that keep messages apart and fields whole.
// They may leave out the reason phrase and the space before it, and may put
// bytes above 0x7F into the reason and into values.
func (r *Response) Parse(b []byte, lim Limits) (done bool, rej *Reject) {
	if r.HeadLen > 0 || r.rej != nil {
		return r.rej == nil, r.rej
	}
	for {
		n := bytes.IndexByte(b[r.seek:], '\n')
		if n < 0 {
			r.seek = len(b)
			r.rej = r.partial(b, lim)
			return false, r.rej
		}
		end := r.seek + n + 1
		done, r.rej = r.line(b, end, lim)
		r.pos, r.seek = end, end
		if done || r.rej != nil {
			return done, r.rej
		}
	}
}

// partial judges a head that ends without LF. What is not HTTP is told by its
// first bytes: a backend of another protocol would never send the LF.
func (r *Response) partial(b []byte, lim Limits) *Reject {
	const start = "HTTP/1."
	if n := min(len(b), len(start)); !r.inFields && string(b[:n]) != start[:n] {
		return rejectStatusLine
	}
	if len(b) >= lim.MaxHeader {
		return rejectResponseHeader
	}
	return nil
}

func (r *Response) line(b []byte, end int, lim Limits) (done bool, rej *Reject) {
	start, stop := r.pos, end-2
	switch {
	case end > lim.MaxHeader:
		return false, rejectResponseHeader
	case !r.inFields:
		r.inFields, r.lineEnd = true, uint32(end)
		return false, r.statusLine(b, end)
	case stop == start && b[stop] == '\r':
		if rej := r.finish(b); rej != nil {
			return false, rej
		}
		r.HeadLen = end
		return true, nil
	}
	return false, r.field(b, start, end)
}

// statusLine takes HTTP-version SP status-code [SP [reason-phrase]] (RFC 9112, section 4).
func (r *Response) statusLine(b []byte, end int) *Reject {
	const size = len("HTTP/1.1 200")
	stop := end - 2
	if stop < size || b[stop] != '\r' || string(b[:7]) != "HTTP/1." || b[8] != ' ' {
		return rejectStatusLine
	}
	if b[7] != '0' && b[7] != '1' {
		return rejectStatusLine
	}
	r.Minor = b[7] - '0'
	for _, c := range b[9:size] {
		if !digit(c) {
			return rejectStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 || r.Status > 599 {
		return rejectStatusLine
	}
	if stop > size {
		if b[size] != ' ' || checkValue(b[size+1:stop]) != flawNone {
			return rejectStatusLine
		}
		r.Reason = span(size+1, stop)
	}
	r.canonical = stop > size && r.Minor == 1
	return nil
}

func (r *Response) field(b []byte, start, end int) *Reject {
	f, bad := scanField(b, start, end)
	if bad != flawNone {
		return rejectResponseField
	}
	if len(r.Fields) == maxFields {
		return rejectResponseFields
	}
	again := r.Has(f.ID)
	r.seen |= 1 << f.ID
	switch v := f.Value.of(b); f.ID {
	case FieldContentLength:
		n, ok := length(v)
		if again || !ok {
			return rejectResponseFraming
		}
		r.ContentLength = n
	case FieldTransferEncoding:
		if again || transferCoding(v) != codingChunked {
			return rejectResponseFraming
		}
		r.Chunked = true
	case FieldConnection:
		if !r.options.add(b, f.Value) {
			return rejectResponseConnection
		}
	case FieldKeepAlive:
		r.KeepAliveTimeout = keepAliveTimeout(v)
	case FieldUpgrade:
		r.websocket = !again && fold(v, "websocket")
	}
	r.Fields = append(r.Fields, f)
	return nil
}

// maxKeepAlive is where a promise stops meaning anything.
const maxKeepAlive = 24 * time.Hour

// keepAliveTimeout reads timeout=N, in seconds, out of "timeout=5, max=100".
// What is not understood says nothing: the field is only a hint.
func keepAliveTimeout(v []byte) time.Duration {
	const key = "timeout="
	for len(v) > 0 {
		var param []byte
		param, v, _ = bytes.Cut(v, []byte(","))
		param = bytes.Trim(param, " \t")
		if len(param) <= len(key) || !fold(param[:len(key)], key) {
			continue
		}
		n, ok := length(param[len(key):])
		if !ok || n > int64(maxKeepAlive/time.Second) {
			n = 0
		}
		return time.Duration(n) * time.Second
	}
	return 0
}

// finish judges the head as a whole.
func (r *Response) finish(b []byte) *Reject {
	if r.Chunked && (r.ContentLength >= 0 || r.Minor == 0) {
		return rejectResponseFraming
	}
	if r.Status == 101 {
		if !r.asked || !r.websocket || !r.options.upgrade || r.Minor == 0 {
			return rejectResponseUpgrade
		}
	}
	if !r.options.cut(b, r.Fields, twin) {
		return rejectResponseConnection
	}
	switch {
	case r.verb == VerbHEAD || r.Status < 200 || r.Status == 204 || r.Status == 304:
		r.Body = BodyNone
	case r.Chunked:
		r.Body = BodyChunked
	case r.ContentLength >= 0:
		r.Body = BodyLength
	default:
		r.Body = BodyUntilClose
	}
	r.KeepAlive = !r.options.close && (r.Minor == 1 || r.options.keepAlive) &&
		r.Body != BodyUntilClose && r.Status != 101
	return nil
}

// What a response is refused for; the client gets 502.
var (
	rejectResponseHeader     = reject(502, "bad_response_head_too_large", "backend's response head is larger than max_header")
	rejectResponseFields     = reject(502, "bad_response_too_many_fields", "backend's response head has more than 128 fields")
	rejectStatusLine         = reject(502, "bad_response_status_line", "backend's status line is not HTTP/1.0 or HTTP/1.1 and a status of 100 to 599, ended by CRLF")
	rejectResponseField      = reject(502, "bad_response_field", "backend's response has a malformed field line")
	rejectResponseFraming    = reject(502, "bad_response_framing", "backend's response has two framings, or one that is malformed or doubled")
	rejectResponseConnection = reject(502, "bad_response_connection", "backend's connection field is malformed, has more than 9 options, or names a framing field")
	rejectResponseUpgrade    = reject(502, "bad_response_upgrade", "backend switched protocols without being asked, or to something else")
)
