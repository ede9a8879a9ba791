package http1

import (
	"encoding/binary"
	"slices"
)

// Span is a part of the buffer that was parsed, by offset, so that the buffer
// may move or grow between two calls.
type Span struct{ Start, End uint32 }

func (s Span) of(b []byte) []byte { return b[s.Start:s.End] }

// Len is the number of bytes of the span.
func (s Span) Len() int { return int(s.End - s.Start) }

func span(start, end int) Span { return Span{uint32(start), uint32(end)} }

// Field is one field line.
type Field struct {
	Line  Span // the whole line with its CRLF
	Name  Span
	Value Span // without the white space around it
	ID    FieldID
	Cut   bool // hop-by-hop, or named by Connection: not forwarded
}

// FieldID names the fields this package cares for; FieldOther is any other.
type FieldID uint8

const (
	FieldOther FieldID = iota
	FieldConnection
	FieldKeepAlive
	FieldProxyConnection
	FieldTE
	FieldTransferEncoding
	FieldUpgrade
	FieldContentLength
	FieldHost
	FieldExpect
	FieldTrailer
	FieldVia
	FieldForwarded
	FieldXForwardedFor
	FieldXForwardedProto
	FieldXForwardedHost
	FieldXForwardedOther // X-Forwarded- and anything else
	FieldXRealIP
	FieldXRequestID
	FieldAuthorization
	FieldProxyAuthorization
	FieldProxyAuthenticate
	FieldWWWAuthenticate
	FieldCookie
	FieldSetCookie
	FieldSecWebSocketKey
	FieldSecWebSocketVersion
	FieldSecWebSocketAccept
	FieldIdempotencyKey
	FieldUserAgent
	FieldReferer
	FieldDate
	FieldServer
	FieldAge
	FieldVary
	FieldLocation
	FieldExpires
	FieldRetryAfter
	FieldCacheControl
	FieldContentType
	FieldContentEncoding
	FieldContentRange
	FieldRange
	FieldMaxForwards
	FieldIfMatch
	FieldIfNoneMatch
	FieldIfModifiedSince
	FieldIfUnmodifiedSince
	FieldIfRange
	fieldIDs // at most 64: seen sets are one word
)

// What a field may not do, or what is done with it.
const (
	hop       = 1 << iota // cut before forwarding (RFC 9110, section 7.6.1)
	guard                 // refused when Connection names it: framing, routing, identity and the record of the path hang on it
	twin                  // refused when written with "_" for "-": CGI-like backends read both names as one
	noTrailer             // refused in a trailer section (RFC 9110, section 6.5.1)
)

// fieldTable says name and rules by FieldID. Authorization and Cookie are
// guarded: no honest client names them in Connection, and a client that could
// have them cut would be judged without the credentials that a proxy before
// us, or we, have checked.
var fieldTable = [fieldIDs]struct {
	name  string // lower case
	rules uint8
}{
	FieldOther:               {"", 0},
	FieldConnection:          {"connection", hop | noTrailer},
	FieldKeepAlive:           {"keep-alive", hop | noTrailer},
	FieldProxyConnection:     {"proxy-connection", hop | noTrailer},
	FieldTE:                  {"te", hop | noTrailer},
	FieldTransferEncoding:    {"transfer-encoding", hop | guard | twin | noTrailer},
	FieldUpgrade:             {"upgrade", hop | noTrailer},
	FieldContentLength:       {"content-length", guard | twin | noTrailer},
	FieldHost:                {"host", guard | noTrailer},
	FieldExpect:              {"expect", guard | noTrailer},
	FieldTrailer:             {"trailer", noTrailer},
	FieldVia:                 {"via", guard | noTrailer},
	FieldForwarded:           {"forwarded", guard | noTrailer},
	FieldXForwardedFor:       {"x-forwarded-for", guard | twin | noTrailer},
	FieldXForwardedProto:     {"x-forwarded-proto", guard | twin | noTrailer},
	FieldXForwardedHost:      {"x-forwarded-host", guard | twin | noTrailer},
	FieldXForwardedOther:     {"x-forwarded-", guard | twin | noTrailer}, // a prefix
	FieldXRealIP:             {"x-real-ip", guard | twin | noTrailer},
	FieldXRequestID:          {"x-request-id", guard | noTrailer},
	FieldAuthorization:       {"authorization", guard | noTrailer},
	FieldProxyAuthorization:  {"proxy-authorization", noTrailer},
	FieldProxyAuthenticate:   {"proxy-authenticate", noTrailer},
	FieldWWWAuthenticate:     {"www-authenticate", noTrailer},
	FieldCookie:              {"cookie", guard | noTrailer},
	FieldSetCookie:           {"set-cookie", noTrailer},
	FieldSecWebSocketKey:     {"sec-websocket-key", guard | noTrailer},
	FieldSecWebSocketVersion: {"sec-websocket-version", guard | noTrailer},
	FieldSecWebSocketAccept:  {"sec-websocket-accept", noTrailer},
	FieldIdempotencyKey:      {"idempotency-key", guard | noTrailer},
	FieldUserAgent:           {"user-agent", 0},
	FieldReferer:             {"referer", 0},
	FieldDate:                {"date", noTrailer},
	FieldServer:              {"server", 0},
	FieldAge:                 {"age", noTrailer},
	FieldVary:                {"vary", noTrailer},
	FieldLocation:            {"location", noTrailer},
	FieldExpires:             {"expires", noTrailer},
	FieldRetryAfter:          {"retry-after", noTrailer},
	FieldCacheControl:        {"cache-control", noTrailer},
	FieldContentType:         {"content-type", noTrailer},
	FieldContentEncoding:     {"content-encoding", noTrailer},
	FieldContentRange:        {"content-range", noTrailer},
	FieldRange:               {"range", noTrailer},
	FieldMaxForwards:         {"max-forwards", noTrailer},
	FieldIfMatch:             {"if-match", noTrailer},
	FieldIfNoneMatch:         {"if-none-match", noTrailer},
	FieldIfModifiedSince:     {"if-modified-since", noTrailer},
	FieldIfUnmodifiedSince:   {"if-unmodified-since", noTrailer},
	FieldIfRange:             {"if-range", noTrailer},
}

// idSlots is an open-addressed hash table of the names, by their length, first
// and last byte: one probe finds or refutes nearly every name.
var idSlots = func() (t [256]FieldID) {
	for id := FieldOther + 1; id < fieldIDs; id++ {
		name := fieldTable[id].name
		s := slot(len(name), name[0], name[len(name)-1])
		for t[s] != FieldOther {
			s++
		}
		t[s] = id
	}
	return t
}()

func slot(n int, first, last byte) uint8 { return uint8(n*37 + int(first)*5 + int(last)*83) }

// fieldID finds the ID of a name that is known to be all token characters.
func fieldID(name []byte) FieldID {
	n := len(name)
	if n < 2 {
		return FieldOther
	}
	for s := slot(n, name[0]|0x20, name[n-1]|0x20); idSlots[s] != FieldOther; s++ {
		if id := idSlots[s]; foldToken(name, fieldTable[id].name) {
			return id
		}
	}
	const prefix = "x-forwarded-"
	if n > len(prefix) && foldToken(name[:len(prefix)], prefix) {
		return FieldXForwardedOther
	}
	return FieldOther
}

// foldToken compares without case. a must be token characters only, want lower
// case without "~": setting bit 5 then changes letters alone, since the other
// token characters without it, "^" and "_", become bytes that no want holds.
func foldToken(a []byte, want string) bool {
	if len(a) != len(want) {
		return false
	}
	for i := range a {
		if a[i]|0x20 != want[i] {
			return false
		}
	}
	return true
}

// fold compares any two byte strings without regard to the case of ASCII letters.
func fold[A, B []byte | string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	return c
}

// Byte classes.
const (
	isToken  = 1 << iota // RFC 9110, section 5.6.2
	isTarget             // visible ASCII without "#": what a request target may hold
	isHost               // letters, digits, "-", ".", "_", "~": see validAuthority
	isUnder              // "_"
)

var class = func() (t [256]uint8) {
	for c := range t {
		alnum := c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if alnum || slices.Contains([]byte("!#$%&'*+-.^_`|~"), byte(c)) {
			t[c] |= isToken
		}
		if c > ' ' && c < 0x7f && c != '#' {
			t[c] |= isTarget
		}
		if alnum || slices.Contains([]byte("-._~"), byte(c)) {
			t[c] |= isHost
		}
	}
	t['_'] |= isUnder
	return t
}()

func all(b []byte, c uint8) bool {
	for _, x := range b {
		if class[x]&c == 0 {
			return false
		}
	}
	return true
}

// A flaw is what is wrong with a line; requests, responses and trailers each
// have their own Reject for it.
type flaw uint8

const (
	flawNone   flaw = iota
	flawBareLF      // the line ends in LF alone, or a CR stands elsewhere than before LF (RFC 9112, section 2.2)
	flawFold        // the line starts with white space (RFC 9112, section 5.2)
	flawName        // empty, or a byte that is no token character, or white space before the colon (section 5.1)
	flawColon       // no colon
	flawTwin        // "_" for "-" in a name that framing or trust hang on
	flawValue       // a control byte (RFC 9110, section 5.5)
	flaws
)

// scanField reads the field line b[start:end], which ends with the first LF.
func scanField(b []byte, start, end int) (f Field, bad flaw) {
	stop := end - 2
	if stop < start || b[stop] != '\r' {
		return f, flawBareLF
	}
	if c := b[start]; c == ' ' || c == '\t' {
		return f, flawFold
	}
	i, seen := start, uint8(0)
	for ; i < stop && class[b[i]]&isToken != 0; i++ {
		seen |= class[b[i]]
	}
	switch {
	case i == stop:
		return f, flawColon
	case b[i] != ':' || i == start:
		if b[i] == '\r' {
			return f, flawBareLF
		}
		return f, flawName
	}
	name := b[start:i]
	if seen&isUnder != 0 && isTwin(name) {
		return f, flawTwin
	}
	f.Line, f.Name, f.ID = span(start, end), span(start, i), fieldID(name)
	f.Cut = fieldTable[f.ID].rules&hop != 0

	v := i + 1
	for v < stop && (b[v] == ' ' || b[v] == '\t') {
		v++
	}
	w := stop
	for w > v && (b[w-1] == ' ' || b[w-1] == '\t') {
		w--
	}
	f.Value = span(v, w)
	return f, checkValue(b[v:w])
}

// isTwin says whether a name with "_" is read by CGI-like backends, which turn
// both "-" and "_" into "_", as a field that framing or trust hang on.
func isTwin(name []byte) bool {
	var dashed [64]byte // longer than every name in the table; prefixes are in it too
	n := copy(dashed[:], name)
	for i := range dashed[:n] {
		if dashed[i] == '_' {
			dashed[i] = '-'
		}
	}
	return fieldTable[fieldID(dashed[:n])].rules&twin != 0
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// checkValue allows visible bytes, space, tab and 0x80-0xFF.
func checkValue(v []byte) flaw {
	for i := 0; i < len(v); {
		if len(v)-i >= 8 {
			// Eight bytes at once: one is below 0x20, or is 0x7F.
			x := binary.LittleEndian.Uint64(v[i:])
			y := x ^ ones*0x7f
			if ((x-ones*0x20)&^x|(y-ones)&^y)&tops == 0 {
				i += 8
				continue
			}
		}
		for n := min(i+8, len(v)); i < n; i++ {
			switch c := v[i]; {
			case c == '\r':
				return flawBareLF
			case c < ' ' && c != '\t' || c == 0x7f:
				return flawValue
			}
		}
	}
	return flawNone
}

// options is what the Connection fields of one head say (RFC 9110, section 7.6.1).
type options struct {
	close, keepAlive, upgrade bool

	count uint8 // elements, empty ones too
	named uint8
	names [maxOptions]Span // fields to cut
}

// maxOptions: honest clients send one to three; each costs a pass over the fields.
const maxOptions = 9

// add reads one field value and says whether it is well formed and within bounds.
func (o *options) add(b []byte, v Span) bool {
	for start, end := int(v.Start), int(v.End); start <= end; {
		stop := start
		for stop < end && b[stop] != ',' {
			stop++
		}
		t := trim(b, start, stop)
		start = stop + 1
		if o.count++; o.count > maxOptions {
			return false
		}
		switch name := t.of(b); {
		case len(name) == 0:
		case !all(name, isToken):
			return false
		case foldToken(name, "close"):
			o.close = true
		case foldToken(name, "keep-alive"):
			o.keepAlive = true
		case foldToken(name, "upgrade"):
			o.upgrade = true
		default:
			o.names[o.named] = t
			o.named++
		}
	}
	return true
}

// cut marks the fields that Connection names. It says no where it names one
// with a rule of mask.
func (o *options) cut(b []byte, fields []Field, mask uint8) bool {
	for _, t := range o.names[:o.named] {
		name := t.of(b)
		if fieldTable[fieldID(name)].rules&mask != 0 {
			return false
		}
		for i := range fields {
			if f := &fields[i]; fold(f.Name.of(b), name) {
				f.Cut = true
			}
		}
	}
	return true
}

func trim(b []byte, start, end int) Span {
	for start < end && (b[start] == ' ' || b[start] == '\t') {
		start++
	}
	for end > start && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	return span(start, end)
}

// length reads a Content-Length: 1 to 19 digits within int64 and nothing else
// (RFC 9110, section 8.6), so no list, sign, space or 0x.
func length(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 19 {
		return 0, false
	}
	var u uint64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = u*10 + uint64(c-'0') // 19 digits stay below 2^64
	}
	return int64(u), u < 1<<63
}

// Limits bound a head. Both are in bytes and must be above zero.
type Limits struct {
	MaxHeader int // the whole head with its empty line
	MaxURI    int // the request target
}

// maxFields bounds the field lines of a head; the largest honest heads seen
// have about 60. The array behind Request.Fields grows to it and stays.
const maxFields = 128

// Reject says why bytes were refused. All Rejects are package values and are
// compared by address.
type Reject struct {
	Status int    // for the client: 4xx or 5xx
	Reason string // metric label, of a closed list: see Reasons
	Text   string // one line for the log and the client
}

func (r *Reject) Error() string { return r.Text }

var rejects []*Reject

func reject(status int, reason, text string) *Reject {
	r := &Reject{status, reason, text}
	rejects = append(rejects, r)
	return r
}

// Reasons returns every Reject.Reason there is, for those who make labels of them.
func Reasons() []string {
	var out []string
	for _, r := range rejects {
		if !slices.Contains(out, r.Reason) {
			out = append(out, r.Reason)
		}
	}
	return out
}
