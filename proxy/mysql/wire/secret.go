package wire

import (
	"fmt"
	"io"
)

const hidden = "[secret]"

// Keys and hashes let in who has them, so none shows itself: not with any verb
// of fmt, and not as text, which is how JSON and slog ask.

// Format writes "[secret]".
func (NativeKey) Format(s fmt.State, _ rune) { io.WriteString(s, hidden) }

// Format writes "[secret]".
func (NativeHash) Format(s fmt.State, _ rune) { io.WriteString(s, hidden) }

// Format writes "[secret]".
func (SHA2Key) Format(s fmt.State, _ rune) { io.WriteString(s, hidden) }

// Format writes "[secret]".
func (SHA2Hash) Format(s fmt.State, _ rune) { io.WriteString(s, hidden) }

// MarshalText returns "[secret]".
func (NativeKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalText returns "[secret]".
func (NativeHash) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalText returns "[secret]".
func (SHA2Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalText returns "[secret]".
func (SHA2Hash) MarshalText() ([]byte, error) { return []byte(hidden), nil }
