package http1

import "bytes"

// Verb is a method as far as weir has to know it.
type Verb uint8

const (
	VerbOther Verb = iota
	VerbGET
	VerbHEAD
	VerbPOST
	VerbPUT
	VerbDELETE
	VerbOPTIONS
	VerbTRACE
	VerbPATCH
	verbConnect // refused, so nobody sees it
)

// Idempotent follows RFC 9110, section 9.2.2. Of a method we do not know
// nothing is assumed.
func (v Verb) Idempotent() bool {
	switch v {
	case VerbGET, VerbHEAD, VerbPUT, VerbDELETE, VerbOPTIONS, VerbTRACE:
		return true
	}
	return false
}

func verb(m []byte) Verb {
	switch string(m) { // methods are case-sensitive (RFC 9110, section 9.1)
	case "GET":
		return VerbGET
	case "HEAD":
		return VerbHEAD
	case "POST":
		return VerbPOST
	case "PUT":
		return VerbPUT
	case "DELETE":
		return VerbDELETE
	case "OPTIONS":
		return VerbOPTIONS
	case "TRACE":
		return VerbTRACE
	case "PATCH":
		return VerbPATCH
	case "CONNECT":
		return verbConnect
	}
	return VerbOther
}

// Request is the head of a request: what Parse found, as offsets into the
// bytes it was given. The zero value is ready after Reset. It is not safe for
// concurrent use. A Request that is kept and Reset needs no memory for a head
// with no more fields than one before it had.
type Request struct {
	Method Span
	Verb   Verb
	Minor  uint8 // HTTP/1.Minor
	Target Span  // as received
	Path   Span  // starts with "/", or is "*", or is empty (absolute form without a path)
	Query  Span  // without the "?"
	Host   Span  // host[:port] of the Host field or, where that is missing or empty, of the target; empty only with HTTP/1.0

	Fields        []Field
	ContentLength int64 // -1: none
	Chunked       bool
	KeepAlive     bool // the client wants to keep the connection open
	Expect100     bool // the client waits for 100 (Continue) before it sends its body
	WebSocket     bool // a valid WebSocket handshake; any other Upgrade is cut
	HeadLen       int  // bytes up to and with the empty line; 0 until Parse is done

	query    bool   // there is a "?", maybe with nothing behind it
	lineEnd  uint32 // where the first field line starts
	absolute Span   // authority of an absolute-form target
	options  options
	seen     uint64 // set of FieldIDs
	coding   coding
	upgrade  bool // there is one Upgrade field and it says websocket
	key      bool // there is one Sec-WebSocket-Key and it is valid
	version  bool // there is one Sec-WebSocket-Version
	emptied  uint8
	inFields bool
	started  bool
	pos      int // start of the line that is being read
	seek     int // no LF in b[pos:seek]
	rej      *Reject
}

// Reset forgets everything but the memory of Fields.
func (r *Request) Reset() {
	*r = Request{Fields: r.Fields[:0], ContentLength: -1}
}

// HasBody says whether bytes of a body follow the head (RFC 9112, section 6.3).
// Any method may have one.
func (r *Request) HasBody() bool { return r.Chunked || r.ContentLength > 0 }

// Started says whether a byte of a request line was seen, as against nothing
// or the empty lines that some clients send after a body.
func (r *Request) Started() bool { return r.started || r.inFields }

// Has says whether a field with this ID was received.
func (r *Request) Has(id FieldID) bool { return r.seen&(1<<id) != 0 }

// Value returns the value of the first field with this ID, nil without one.
func (r *Request) Value(b []byte, id FieldID) []byte {
	if !r.Has(id) {
		return nil
	}
	return value(b, r.Fields, id)
}

func value(b []byte, fields []Field, id FieldID) []byte {
	for i := range fields {
		if fields[i].ID == id {
			return fields[i].Value.of(b)
		}
	}
	return nil
}

// maxEmptyLines before a request line: RFC 9112, section 2.2, asks for at
// least one; old clients send one CRLF after a body.
const maxEmptyLines = 2

// maxMethod in bytes; the longest registered, UPDATEREDIRECTREF, has 17.
const maxMethod = 32

// Parse scans a request head (RFC 9112) at the start of b. While it is neither
// done nor refused it is called again with the same bytes and more behind
// them; only a line that was not whole is looked at twice. Bytes behind the
// head are not looked at. A limit is enforced as soon as it is passed, and an incomplete head of
// MaxHeader bytes is refused, so a buffer of MaxHeader bytes is always enough.
func (r *Request) Parse(b []byte, lim Limits) (done bool, rej *Reject) {
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

// partial judges a head that ends without LF.
func (r *Request) partial(b []byte, lim Limits) *Reject {
	if !r.inFields && len(b) > r.pos && b[r.pos] != '\r' {
		r.started = true
		if _, rej := r.requestLine(b, len(b), false, lim); rej != nil {
			return rej
		}
	}
	if len(b) >= lim.MaxHeader {
		return r.tooLarge()
	}
	return nil
}

// tooLarge blames the target while there is nothing else to blame.
func (r *Request) tooLarge() *Reject {
	if !r.inFields {
		return rejectURI
	}
	return rejectHeader
}

// line takes the line b[r.pos:end], which ends with the first LF.
func (r *Request) line(b []byte, end int, lim Limits) (done bool, rej *Reject) {
	start, stop := r.pos, end-2
	empty := stop == start && b[stop] == '\r'
	switch {
	case end > lim.MaxHeader:
		return false, r.tooLarge()
	case r.inFields && empty:
		if rej := r.finish(b); rej != nil {
			return false, rej
		}
		r.HeadLen = end
		return true, nil
	case r.inFields:
		return false, r.field(b, start, end)
	case empty:
		if r.emptied++; r.emptied > maxEmptyLines {
			return false, rejectLine
		}
		return false, nil
	case stop < start || b[stop] != '\r':
		return false, rejectBareLF
	}
	r.lineEnd = uint32(end)
	r.inFields, rej = r.requestLine(b, stop, true, lim)
	return false, rej
}

// requestLine takes b[r.pos:end], without CRLF, as method SP target SP version
// (RFC 9112, section 3). If it is not whole, only what can be told is checked.
func (r *Request) requestLine(b []byte, end int, whole bool, lim Limits) (ok bool, rej *Reject) {
	i := r.pos
	for i < end && class[b[i]]&isToken != 0 {
		i++
	}
	switch {
	case i-r.pos > maxMethod:
		return false, rejectMethod
	case i == end && !whole:
		return false, nil
	case i == end || b[i] != ' ' || i == r.pos:
		return false, rejectMethod
	}
	r.Method = span(r.pos, i)
	start := i + 1
	n := bytes.IndexByte(b[start:end], ' ')
	if n < 0 {
		switch {
		case end-start > lim.MaxURI:
			return false, rejectURI
		case whole:
			return false, rejectLine
		}
		return false, nil
	}
	if n > lim.MaxURI {
		return false, rejectURI
	}
	if !whole {
		return false, nil
	}
	r.Target = span(start, start+n)
	switch version := b[start+n+1 : end]; {
	case string(version) == "HTTP/1.1":
		r.Minor = 1
	case string(version) == "HTTP/1.0":
		r.Minor = 0
	case len(version) == 8 && string(version[:5]) == "HTTP/" && digit(version[5]) && version[6] == '.' && digit(version[7]):
		return false, rejectVersion
	default:
		return false, rejectLine
	}
	if r.Verb = verb(r.Method.of(b)); r.Verb == verbConnect {
		return false, rejectConnect
	}
	return true, r.target(b)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// target takes the three forms of RFC 9112, section 3.2, that may come here.
func (r *Request) target(b []byte) *Reject {
	t := r.Target.of(b)
	if len(t) == 0 || !all(t, isTarget) {
		return rejectTarget
	}
	path := int(r.Target.Start)
	switch {
	case t[0] == '/':
	case len(t) == 1 && t[0] == '*' && r.Verb == VerbOPTIONS:
	default:
		n := schemeLen(t)
		if n == 0 {
			return rejectTarget
		}
		host := t[n:]
		if i := bytes.IndexAny(host, "/?"); i >= 0 {
			host = host[:i]
		}
		if !validAuthority(host) {
			return rejectTarget
		}
		r.absolute = span(path+n, path+n+len(host))
		path = int(r.absolute.End)
	}
	r.Path = span(path, int(r.Target.End))
	if i := bytes.IndexByte(r.Path.of(b), '?'); i >= 0 {
		r.query = true
		r.Query = span(path+i+1, int(r.Target.End))
		r.Path.End = uint32(path + i)
	}
	if !validEscapes(r.Path.of(b)) {
		return rejectTarget
	}
	return nil
}

// schemeLen is the length of "http://" or "https://" at the start of t, or 0.
func schemeLen(t []byte) int {
	for _, scheme := range [...]string{"http://", "https://"} {
		if len(t) > len(scheme) && fold(t[:len(scheme)], scheme) {
			return len(scheme)
		}
	}
	return 0
}

func (r *Request) field(b []byte, start, end int) *Reject {
	f, bad := scanField(b, start, end)
	if bad != flawNone {
		return requestFlaw[bad]
	}
	if len(r.Fields) == maxFields {
		return rejectFields
	}
	again := r.Has(f.ID)
	r.seen |= 1 << f.ID
	switch v := f.Value.of(b); f.ID {
	case FieldHost:
		// Empty only where the target may say it: finish sees to that.
		if again || len(v) > 0 && !validAuthority(v) {
			return rejectHost
		}
		r.Host = f.Value
	case FieldContentLength:
		n, ok := length(v)
		if again || !ok {
			return rejectLength
		}
		r.ContentLength = n
	case FieldTransferEncoding:
		if r.coding = transferCoding(v); again {
			r.coding = codingBad
		}
	case FieldConnection:
		if !r.options.add(b, f.Value) {
			return rejectConnection
		}
	case FieldExpect:
		if again || !fold(v, "100-continue") {
			return rejectExpect
		}
	case FieldUpgrade:
		r.upgrade = !again && fold(v, "websocket")
	case FieldSecWebSocketKey:
		r.key = !again && validKey(v)
	case FieldSecWebSocketVersion:
		r.version = !again && len(v) > 0
	}
	r.Fields = append(r.Fields, f)
	return nil
}

// validKey: base64 of 16 bytes (RFC 6455, section 4.2.1).
func validKey(v []byte) bool {
	if len(v) != 24 || v[22] != '=' || v[23] != '=' {
		return false
	}
	for _, c := range v[:22] {
		if lower(c) >= 'a' && lower(c) <= 'z' || digit(c) || c == '+' || c == '/' {
			continue
		}
		return false
	}
	return true
}

// finish judges the head as a whole.
func (r *Request) finish(b []byte) *Reject {
	if rej := r.framing(); rej != nil {
		return rej
	}
	switch host := r.Host.of(b); {
	case !r.Has(FieldHost) && r.Minor == 1:
		return rejectHost // RFC 9112, section 3.2, whatever the target says
	case r.absolute.Len() == 0:
		if r.Has(FieldHost) && len(host) == 0 {
			return rejectHost
		}
	case len(host) == 0:
		r.Host = r.absolute
	case !fold(host, r.absolute.of(b)):
		// RFC 9112, section 3.2.2, lets the target win. Refused instead: what
		// stands before us may have judged the request by the other one.
		return rejectHost
	}
	if !r.options.cut(b, r.Fields, guard) {
		return rejectConnection
	}
	r.KeepAlive = !r.options.close && (r.Minor == 1 || r.options.keepAlive)
	// An HTTP/1.0 client knows no 100, and without a body nobody waits for one
	// (RFC 9110, section 10.1.1).
	r.Expect100 = r.Has(FieldExpect) && r.Minor == 1 && r.HasBody()
	r.WebSocket = r.Verb == VerbGET && r.Minor == 1 && !r.HasBody() &&
		r.options.upgrade && !r.options.close && r.upgrade && r.key && r.version
	return nil
}

// framing holds the one rule that keeps two messages apart: exactly one way to
// find the end of the body (RFC 9112, sections 6.1 and 6.3).
func (r *Request) framing() *Reject {
	switch {
	case r.coding == codingNone:
	case r.Has(FieldContentLength):
		return rejectBoth
	case r.Minor == 0 || r.coding == codingBad:
		return rejectCoding
	case r.coding == codingUnknown:
		return rejectUnknownCoding
	default:
		r.Chunked = true
	}
	return nil
}

// What a request is refused for.
var (
	rejectURI           = reject(414, "uri_too_long", "request target is longer than max_uri")
	rejectHeader        = reject(431, "head_too_large", "request head is larger than max_header")
	rejectFields        = reject(431, "too_many_fields", "request head has more than 128 fields")
	rejectLine          = reject(400, "request_line", "request line is not method, target and HTTP version, each after one space")
	rejectBareLF        = reject(400, "line_end", "line does not end in CRLF, or holds a CR of its own")
	rejectMethod        = reject(400, "method", "method is not 1 to 32 token characters and a space")
	rejectVersion       = reject(505, "version", "HTTP version is neither 1.0 nor 1.1")
	rejectTarget        = reject(400, "target", "request target is no path, no http URL, or holds bytes or escapes that have no place in one")
	rejectHost          = reject(400, "host", "host is missing, doubled, malformed, or not that of the request target")
	rejectFold          = reject(400, "fold", "field line starts with white space")
	rejectName          = reject(400, "field_name", "field name is empty or holds bytes that are no token characters")
	rejectColon         = reject(400, "field_name", "field line has no colon")
	rejectTwin          = reject(400, "field_name", "field name with underscores reads like one that framing or trust hang on")
	rejectValue         = reject(400, "field_value", "field value holds a control byte")
	rejectBoth          = reject(400, "framing", "request has both content-length and transfer-encoding")
	rejectLength        = reject(400, "framing", "content-length is doubled or is not 1 to 19 digits below 2^63")
	rejectCoding        = reject(400, "framing", "transfer-encoding is malformed, doubled, or sent with HTTP/1.0")
	rejectUnknownCoding = reject(501, "transfer_coding", "transfer-encoding is not chunked")
	rejectConnection    = reject(400, "connection", "connection field is malformed, has more than 9 options, or names a field that must not be cut")
	rejectExpect        = reject(417, "expect", "expect is not 100-continue")
	// 501 and not 405: no resource behind weir has it, and 405 would need an
	// Allow field that only the backend knows (RFC 9110, sections 15.5.6, 15.6.2).
	rejectConnect = reject(501, "connect", "CONNECT is not supported")
)

var requestFlaw = [flaws]*Reject{
	flawBareLF: rejectBareLF, flawFold: rejectFold, flawName: rejectName,
	flawColon: rejectColon, flawTwin: rejectTwin, flawValue: rejectValue,
}
