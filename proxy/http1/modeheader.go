package http1

import (
	"bytes"

	"weir/limiter"
)

// modeField tells clients in which mode the backend of their request is. What
// backends send under this name in a head is cut where weir says it itself, so that
// it is weir's word. Trailers pass: who takes a header field from there asks for it.
const modeField = "X-Weir-Mode"

var cutMode = []string{modeField}

// modeLines are the field's lines, by mode. In normal there is none: the field
// costs nothing while all is well.
var modeLines = func() (lines [][]byte) {
	for _, m := range limiter.Modes() {
		var line []byte
		if m != limiter.ModeNormal {
			line = []byte(modeField + ": " + m.String() + "\r\n")
		}
		lines = append(lines, line)
	}
	return lines
}()

// modeLine is the line for a response to this request, nil for none.
func (s *session) modeLine() []byte {
	if !s.set.ModeHeader || s.route == nil || s.route.Backend.Guard == nil {
		return nil
	}
	return modeLines[s.route.Backend.Guard.Ladder.Effect().Mode]
}

// appendWithLine appends an answer, or its head, with a line of the caller's behind
// the status line. A nil line adds nothing.
func appendWithLine(dst, answer, line []byte) []byte {
	status := bytes.IndexByte(answer, '\n') + 1
	dst = append(dst, answer[:status]...)
	dst = append(dst, line...)
	return append(dst, answer[status:]...)
}
