package http1

import (
	"bytes"
	"fmt"
)

// Line is a field that is ready to be sent.
type Line struct {
	Name string // received fields of this name, in any case, are cut
	Line []byte // "Name: value\r\n"
}

// CheckEditName says whether operators may set or remove a field of this name:
// not those that framing, routing and the connection hang on, nor those that
// weir writes itself and that would then be there twice.
func CheckEditName(name string) error {
	b := []byte(name)
	if len(b) == 0 || !all(b, isToken) {
		return fmt.Errorf("field name %q: must be letters, digits and !#$%%&'*+-.^_`|~", name)
	}
	own := fieldTable[fieldID(b)].rules&hop != 0 || bytes.IndexByte(b, '_') >= 0 && isTwin(b)
	switch fieldID(b) {
	case FieldContentLength, FieldHost, FieldExpect, FieldVia, FieldForwarded,
		FieldXForwardedFor, FieldXForwardedProto, FieldXForwardedHost, FieldXRequestID:
		own = true
	}
	if own {
		return fmt.Errorf("field name %q: weir sets or cuts this field itself; leave it out", name)
	}
	return nil
}

// ForwardMode says what happens to X-Forwarded-* and Forwarded.
type ForwardMode uint8

const (
	ForwardKeep    ForwardMode = iota // nothing: they pass as received
	ForwardReplace                    // what was received is cut, for a client that is no trusted proxy
	ForwardAppend                     // what was received is continued
)

// RequestEdit says how the forwarded head differs from the received one. The
// zero value gives hop-by-hop hygiene alone. The bytes in it are sent as they
// are, so they must be valid; names in Remove and Set have passed CheckEditName.
type RequestEdit struct {
	Strip     int         // bytes of Path to cut: Match's prefix. The path stays absolute.
	Host      []byte      // replaces Host; empty keeps it
	BareHost  []byte      // Host where an HTTP/1.0 request names none; if this is empty too, an empty Host is sent
	Forward   ForwardMode // X-Forwarded-For, -Proto and -Host
	RFC7239   bool        // Forwarded too; without effect with ForwardKeep
	ClientIP  []byte      // text without brackets, port or zone; empty: unknown (a unix socket)
	Proto     []byte      // "http" or "https"
	Via       []byte      // "1.1 name", sent as a further field line; empty: none
	RequestID []byte      // X-Request-Id, in place of a received one; empty: as received
	CutExpect bool        // weir has the body, or answers 100 itself
	Close     bool        // Connection: close
	Remove    []string
	Set       []Line
}

const forwardIDs = 1<<FieldXForwardedFor | 1<<FieldXForwardedProto | 1<<FieldXForwardedHost |
	1<<FieldXForwardedOther | 1<<FieldForwarded

// cuts is the set of IDs that e replaces.
func (e *RequestEdit) cuts(r *Request) (ids uint64) {
	if e.CutExpect || !r.Expect100 {
		ids |= 1 << FieldExpect
	}
	if len(e.RequestID) > 0 {
		ids |= 1 << FieldXRequestID
	}
	switch e.Forward {
	case ForwardReplace:
		ids |= forwardIDs
	case ForwardAppend:
		ids |= 1 << FieldXForwardedFor
		if e.RFC7239 {
			ids |= 1 << FieldForwarded
		}
	}
	return ids
}

// AppendRequest appends to dst the head to send to the backend. buf holds the
// bytes r was parsed from. Names, values, duplicates and order of the fields
// that stay are not touched; runs of them are copied at once. Nothing is
// allocated if dst has room for about HeadLen and the bytes of e.
func AppendRequest(dst, buf []byte, r *Request, e *RequestEdit) []byte {
	ids := e.cuts(r)
	host := e.Host
	if len(host) == 0 && r.Host.Len() == 0 {
		host = e.BareHost
	} else if len(host) == 0 && (!r.Has(FieldHost) || r.absolute == r.Host) {
		host = r.Host.of(buf)
	}
	newHost := len(host) > 0 || !r.Has(FieldHost)
	if newHost {
		ids |= 1 << FieldHost
	}

	// The first run starts with the request line, if that stays.
	run := int(r.Method.Start)
	if r.Minor != 1 || r.Target.Start != r.Path.Start || e.Strip > 0 {
		dst = appendRequestLine(dst, buf, r, e.Strip)
		run = int(r.lineEnd)
	}
	if newHost {
		// First, where most parsers look for it: RFC 9110, section 7.2.
		dst = append(dst, buf[run:r.lineEnd]...)
		dst = appendField(dst, "Host: ", host)
		run = int(r.lineEnd)
	}
	edited := len(e.Remove)+len(e.Set) > 0
	for i := range r.Fields {
		f := &r.Fields[i]
		cut := f.Cut || ids>>f.ID&1 != 0 || edited && edits(e.Remove, e.Set, f.Name.of(buf))
		if cut && !(r.WebSocket && f.ID == FieldUpgrade) {
			dst = append(dst, buf[run:f.Line.Start]...)
			run = int(f.Line.End)
		}
	}
	dst = append(dst, buf[run:r.HeadLen-2]...)

	switch {
	case r.WebSocket:
		dst = append(dst, "Connection: upgrade\r\n"...)
	case e.Close:
		dst = append(dst, "Connection: close\r\n"...)
	}
	if r.Chunked {
		dst = append(dst, chunkedLine...)
	}
	if e.Forward != ForwardKeep {
		dst = e.appendForwarded(dst, buf, r)
	}
	if len(e.Via) > 0 {
		dst = appendField(dst, "Via: ", e.Via)
	}
	if len(e.RequestID) > 0 {
		dst = appendField(dst, "X-Request-Id: ", e.RequestID)
	}
	for i := range e.Set {
		dst = append(dst, e.Set[i].Line...)
	}
	return append(dst, "\r\n"...)
}

const chunkedLine = "Transfer-Encoding: chunked\r\n"

func appendField(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// edits says whether a received field is removed or replaced. Names are
// compared as CGI, PHP and WSGI do, who cannot tell "_" from "-".
func edits(remove []string, set []Line, name []byte) bool {
	for _, s := range remove {
		if foldTwin(name, s) {
			return true
		}
	}
	for i := range set {
		if foldTwin(name, set[i].Name) {
			return true
		}
	}
	return false
}

func foldTwin(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(b) {
		x, y := lower(a[i]), lower(b[i])
		if x == '_' {
			x = '-'
		}
		if y == '_' {
			y = '-'
		}
		if x != y {
			return false
		}
	}
	return true
}

// appendTrailer appends the trailer's lines that are not removed or replaced.
func (e *RequestEdit) appendTrailer(dst, trailer []byte) []byte {
	for len(trailer) > 0 {
		line := trailer[:bytes.IndexByte(trailer, '\n')+1]
		if !edits(e.Remove, e.Set, line[:bytes.IndexByte(line, ':')]) {
			dst = append(dst, line...)
		}
		trailer = trailer[len(line):]
	}
	return dst
}

// appendRequestLine writes the target in origin form, or "*" (RFC 9112, section 3.2).
func appendRequestLine(dst, buf []byte, r *Request, strip int) []byte {
	dst = append(dst, r.Method.of(buf)...)
	dst = append(dst, ' ')
	path := r.Path.of(buf)
	switch {
	case len(path) > 0 && path[0] == '*':
	case len(path) == 0 && r.Verb == VerbOPTIONS && !r.query:
		path = []byte("*") // section 3.2.4: what "OPTIONS http://host" asks for
	default:
		path = path[min(strip, len(path)):]
		if len(path) == 0 || path[0] != '/' {
			dst = append(dst, '/')
		}
	}
	dst = append(dst, path...)
	if r.query {
		dst = append(dst, '?')
		dst = append(dst, r.Query.of(buf)...)
	}
	return append(dst, " HTTP/1.1\r\n"...)
}

func (e *RequestEdit) appendForwarded(dst, buf []byte, r *Request) []byte {
	keep := e.Forward == ForwardAppend
	if len(e.ClientIP) > 0 || keep && r.Has(FieldXForwardedFor) {
		dst = append(dst, "X-Forwarded-For: "...)
		dst = appendList(dst, buf, r, FieldXForwardedFor, keep)
		dst = append(dst, e.ClientIP...)
		dst = append(trimComma(dst), "\r\n"...)
	}
	// The first proxy knows best what the client used.
	if !(keep && r.Has(FieldXForwardedProto)) && len(e.Proto) > 0 {
		dst = appendField(dst, "X-Forwarded-Proto: ", e.Proto)
	}
	if !(keep && r.Has(FieldXForwardedHost)) && r.Host.Len() > 0 {
		dst = appendField(dst, "X-Forwarded-Host: ", r.Host.of(buf))
	}
	if !e.RFC7239 {
		return dst
	}
	// RFC 7239, section 4: what holds ":" or brackets is no token and is quoted.
	dst = append(dst, "Forwarded: "...)
	dst = appendList(dst, buf, r, FieldForwarded, keep)
	switch {
	case len(e.ClientIP) == 0:
		dst = append(dst, "for=unknown"...)
	case bytes.IndexByte(e.ClientIP, ':') >= 0:
		dst = append(dst, `for="[`...)
		dst = append(dst, e.ClientIP...)
		dst = append(dst, `]"`...)
	default:
		dst = append(dst, "for="...)
		dst = append(dst, e.ClientIP...)
	}
	if host := r.Host.of(buf); len(host) > 0 {
		dst = append(dst, `;host="`...) // either form is allowed for a name
		dst = append(dst, host...)
		dst = append(dst, '"')
	}
	if len(e.Proto) > 0 {
		dst = append(dst, ";proto="...)
		dst = append(dst, e.Proto...)
	}
	return append(dst, "\r\n"...)
}

// appendList joins the received values of a list field, each followed by ", ".
func appendList(dst, buf []byte, r *Request, id FieldID, keep bool) []byte {
	if !keep || !r.Has(id) {
		return dst
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; f.ID == id && f.Value.Len() > 0 {
			dst = append(dst, f.Value.of(buf)...)
			dst = append(dst, ", "...)
		}
	}
	return dst
}

// trimComma cuts the ", " after the last member of a list.
func trimComma(dst []byte) []byte { return bytes.TrimSuffix(dst, []byte(", ")) }

// ConnOption is the Connection field that goes to the client.
type ConnOption uint8

const (
	ConnNone      ConnOption = iota // none: HTTP/1.1, the connection stays open
	ConnClose                       // Connection: close
	ConnKeepAlive                   // Connection: keep-alive, for an HTTP/1.0 client whose connection stays open
)

// ResponseEdit says how the forwarded head differs from the received one. The
// zero value gives hop-by-hop hygiene alone. The bytes in it are sent as they
// are, so they must be valid; names in Remove and Set have passed CheckEditName.
type ResponseEdit struct {
	Conn ConnOption // not looked at for 1xx; a 101 always gets Connection: upgrade
	// Chunked: the body goes out chunked, and Content-Length is cut. Without it
	// the body goes out with the received Content-Length, or up to our FIN. A
	// response to HEAD gets what GET would. Not looked at for 1xx and 204, which
	// carry neither field (RFC 9110, section 8.6; RFC 9112, section 6.1).
	Chunked bool
	Via     []byte // "1.1 name", sent as a further field line; empty: none
	Date    []byte // IMF-fixdate for a final response that has no Date (RFC 9110, section 6.6.1); empty: none
	Lines   []byte // further lines of a final response, each with its CRLF
	Remove  []string
	Set     []Line
}

// AppendResponse appends to dst the head to send to the client, always as
// HTTP/1.1, with the reason phrase as received. buf holds the bytes r was
// parsed from. Otherwise it is as AppendRequest.
func AppendResponse(dst, buf []byte, r *Response, e *ResponseEdit) []byte {
	interim := r.Status < 200
	chunked := e.Chunked && !interim && r.Status != 204
	ids := uint64(0)
	if chunked || interim || r.Status == 204 {
		ids |= 1 << FieldContentLength
	}
	run := 0
	if !r.canonical {
		dst = append(dst, "HTTP/1.1 "...)
		dst = append(dst, buf[9:12]...)
		dst = append(dst, ' ')
		dst = append(dst, r.Reason.of(buf)...)
		run = int(r.lineEnd) - 2
	}
	edited := len(e.Remove)+len(e.Set) > 0
	for i := range r.Fields {
		f := &r.Fields[i]
		cut := f.Cut || ids>>f.ID&1 != 0 || edited && edits(e.Remove, e.Set, f.Name.of(buf))
		if cut && !(r.Status == 101 && f.ID == FieldUpgrade) {
			dst = append(dst, buf[run:f.Line.Start]...)
			run = int(f.Line.End)
		}
	}
	dst = append(dst, buf[run:r.HeadLen-2]...)

	switch {
	case r.Status == 101:
		dst = append(dst, "Connection: upgrade\r\n"...)
	case interim:
	case e.Conn == ConnClose:
		dst = append(dst, "Connection: close\r\n"...)
	case e.Conn == ConnKeepAlive:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	if chunked {
		dst = append(dst, chunkedLine...)
	}
	if len(e.Date) > 0 && !interim && !r.Has(FieldDate) {
		dst = appendField(dst, "Date: ", e.Date)
	}
	if len(e.Via) > 0 {
		dst = appendField(dst, "Via: ", e.Via)
	}
	if !interim {
		dst = append(dst, e.Lines...)
	}
	for i := range e.Set {
		dst = append(dst, e.Set[i].Line...)
	}
	return append(dst, "\r\n"...)
}
