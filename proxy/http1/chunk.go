package http1

import "bytes"

// Chunked finds the data in a chunked body (RFC 9112, section 7.1). It reads
// no leniency into it: a size is 1 to 16 hexadecimal digits below 2^63 and
// nothing else, every line ends in CRLF, and CRLF stands right behind the data.
// Chunk extensions must be ignored (section 7.1.1), so they are: checked against the
// grammar, bounded, and never forwarded. It is a small value without
// pointers; a copy is a snapshot. Start comes first.
type Chunked struct {
	left     int64  // of the size while it is read, then of the data
	max      uint32 // of the trailer section
	line     uint32 // in the trailer section: start of the line that is being read
	seek     uint32 // in the trailer section: no LF before it
	fields   uint16 // in the trailer section
	spent    uint16 // bytes of extensions so far, of all chunks
	ext      uint16 // bytes of extensions of this chunk
	digits   uint8
	state    chunkState
	response bool
	trailer  Span
}

type chunkState uint8

const (
	chunkSize     chunkState = iota // at or in the digits of a size
	chunkExtName0                   // after ";"
	chunkExtName
	chunkExtVal0 // after "="
	chunkExtVal
	chunkExtQuoted
	chunkExtEscape // after "\" in a quoted string
	chunkExtEnd    // after a quoted string
	chunkLF        // after the CR of a size line
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkDone
	chunkBad
)

const (
	maxExtension  = 256   // bytes of extensions of one chunk; none is known to be in use
	maxExtensions = 16384 // of one body, so that they cannot outweigh the data for long
	maxDigits     = 16
)

// Start prepares for a new body. response picks what is blamed: the backend
// (502) or the client (400). maxTrailer bounds the trailer section in bytes.
func (c *Chunked) Start(response bool, maxTrailer int) {
	*c = Chunked{response: response, max: uint32(maxTrailer)}
}

// Next decodes from the start of b. data, if any, is a part of b[:consumed].
// It is called again with b[consumed:] and what came behind it until done or
// refused. consumed is 0 only if b is empty or holds a part of a trailer
// section: that is consumed whole or not at all, so the caller's buffer has
// to hold maxTrailer bytes. Bytes behind the body are not looked at.
func (c *Chunked) Next(b []byte) (data []byte, consumed int, done bool, rej *Reject) {
	i := 0
	for i < len(b) {
		switch c.state {
		case chunkData:
			n := int(min(c.left, int64(len(b)-i)))
			data, i = b[i:i+n], i+n
			if c.left -= int64(n); c.left > 0 {
				return data, i, false, nil
			}
			c.state = chunkDataCR
			if len(b)-i >= 2 && b[i] == '\r' && b[i+1] == '\n' {
				// The chunk is whole, so that Verbatim may take the next one.
				c.state, i = chunkSize, i+2
			}
			return data, i, false, nil
		case chunkTrailer:
			if i > 0 {
				return nil, i, false, nil // offsets count from the section's start
			}
			return c.trailers(b)
		case chunkDone:
			return nil, i, true, nil
		}
		if !c.step(b[i]) {
			c.state = chunkBad
			return nil, i, false, c.blame(rejectChunk, rejectResponseChunk)
		}
		i++
	}
	return nil, i, c.state == chunkDone, nil
}

func (c *Chunked) blame(request, response *Reject) *Reject {
	if c.response {
		return response
	}
	return request
}

// step takes one byte of a size line or of the CRLF behind data.
func (c *Chunked) step(x byte) (ok bool) {
	token := class[x]&isToken != 0
	to := chunkBad
	switch c.state {
	case chunkSize:
		if d := unhex(x); d >= 0 {
			if c.digits == maxDigits || c.left > (1<<63-1)>>4 {
				return false
			}
			c.left, c.digits, to = c.left<<4|int64(d), c.digits+1, chunkSize
		} else if c.digits > 0 {
			to = afterExtension(x)
		}
	case chunkExtName0:
		if token {
			to = chunkExtName
		}
	case chunkExtName:
		if to = afterExtension(x); token {
			to = chunkExtName
		} else if x == '=' {
			to = chunkExtVal0
		}
	case chunkExtVal0:
		if token {
			to = chunkExtVal
		} else if x == '"' {
			to = chunkExtQuoted
		}
	case chunkExtVal:
		if to = afterExtension(x); token {
			to = chunkExtVal
		}
	case chunkExtQuoted:
		switch {
		case x == '"':
			to = chunkExtEnd
		case x == '\\':
			to = chunkExtEscape
		case x >= ' ' && x != 0x7f || x == '\t':
			to = chunkExtQuoted
		}
	case chunkExtEscape:
		if x >= ' ' && x != 0x7f || x == '\t' {
			to = chunkExtQuoted
		}
	case chunkExtEnd:
		to = afterExtension(x)
	case chunkLF:
		if x == '\n' {
			to = chunkData
			if c.left == 0 {
				to = chunkTrailer
			}
			c.digits, c.ext = 0, 0
		}
	case chunkDataCR:
		if x == '\r' {
			to = chunkDataLF
		}
	case chunkDataLF:
		if x == '\n' {
			to = chunkSize
		}
	}
	if to >= chunkExtName0 && to <= chunkExtEnd {
		if c.ext, c.spent = c.ext+1, c.spent+1; c.ext > maxExtension || c.spent > maxExtensions {
			return false
		}
	}
	c.state = to
	return to != chunkBad
}

// afterExtension is where a byte leads that may end a size or an extension.
func afterExtension(x byte) chunkState {
	switch x {
	case ';':
		return chunkExtName0
	case '\r':
		return chunkLF
	}
	return chunkBad
}

// trailers takes the trailer section, of which b holds the start.
func (c *Chunked) trailers(b []byte) (data []byte, consumed int, done bool, rej *Reject) {
	for {
		n := bytes.IndexByte(b[c.seek:], '\n')
		end := int(c.seek) + n + 1
		switch {
		case n < 0 && len(b) >= int(c.max) || n >= 0 && end > int(c.max):
			return nil, 0, false, c.badTrailer(c.blame(rejectTrailerSize, rejectResponseTrailer))
		case n < 0:
			c.seek = uint32(len(b))
			return nil, 0, false, nil
		}
		start := int(c.line)
		if end-start == 2 && b[start] == '\r' {
			c.state, c.trailer = chunkDone, span(0, start)
			return nil, end, true, nil
		}
		f, bad := scanField(b, start, end)
		if c.fields++; bad != flawNone || c.fields > maxFields || fieldTable[f.ID].rules&noTrailer != 0 {
			return nil, 0, false, c.badTrailer(c.blame(rejectTrailer, rejectResponseTrailer))
		}
		c.line, c.seek = uint32(end), uint32(end)
	}
}

func (c *Chunked) badTrailer(rej *Reject) *Reject {
	c.state = chunkBad
	return rej
}

// Trailer is, once Next was done, the trailer section's field lines in the b
// of that call, each with its CRLF and without the empty line behind them.
func (c *Chunked) Trailer() Span { return c.trailer }

// Verbatim consumes the whole chunks at the start of b that can be forwarded
// byte for byte: no extension, at most 8 digits. With done that includes the
// end of the body, which it takes if no trailer follows. n 0 means: use Next.
// What is refused is left for Next to refuse. Since it takes only whole
// chunks, its bytes and pieces behind an AppendChunkHeader mix to a valid body.
func (c *Chunked) Verbatim(b []byte) (n int, done bool) {
	if c.state != chunkSize || c.digits > 0 {
		return 0, c.state == chunkDone
	}
	for {
		size, i := int64(0), n
		for i < len(b) && i-n < 8 && unhex(b[i]) >= 0 {
			size = size<<4 | int64(unhex(b[i]))
			i++
		}
		if i == n || len(b)-i < 4 || b[i] != '\r' || b[i+1] != '\n' || size > int64(len(b)-i-4) {
			return n, false
		}
		i += 2 + int(size)
		if b[i] != '\r' || b[i+1] != '\n' {
			return n, false
		}
		n = i + 2
		if size == 0 {
			c.state = chunkDone
			return n, true
		}
	}
}

// coding is what Transfer-Encoding says.
type coding uint8

const (
	codingNone    coding = iota
	codingChunked        // exactly "chunked"
	codingUnknown        // a well-formed list of codings that ends in none, or in chunked
	codingBad            // anything else
)

func transferCoding(v []byte) coding {
	if fold(v, "chunked") {
		return codingChunked
	}
	for start := 0; start <= len(v); {
		stop := start
		for stop < len(v) && v[stop] != ',' {
			stop++
		}
		name := trim(v, start, stop).of(v)
		if len(name) == 0 || !all(name, isToken) || fold(name, "chunked") && stop != len(v) {
			return codingBad
		}
		start = stop + 1
	}
	return codingUnknown
}

// LastChunk ends a chunked body without trailer. With one, it is "0\r\n", the
// lines of the trailer, and "\r\n".
const LastChunk = "0\r\n\r\n"

// AppendChunkHeader appends the size line of a chunk of n bytes, n > 0. The
// data and a CRLF have to follow it.
func AppendChunkHeader(dst []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
	}
	return append(dst, "\r\n"...)
}

var (
	rejectChunk           = reject(400, "chunk", "chunked body is malformed")
	rejectTrailer         = reject(400, "trailer", "trailer section is malformed or holds a field that may not stand there")
	rejectTrailerSize     = reject(431, "trailer", "trailer section is larger than max_header")
	rejectResponseChunk   = reject(502, "bad_response_chunk", "backend's chunked body is malformed")
	rejectResponseTrailer = reject(502, "bad_response_trailer", "backend's trailer section is malformed, larger than max_header, or holds a field that may not stand there")
)
