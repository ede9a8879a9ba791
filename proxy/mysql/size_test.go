package mysql

import (
	"testing"
	"unsafe"
)

// A client that is logged in and idle is a session and its names, and what the
// listener keeps of its socket.
func TestAnIdleSessionIsSmall(t *testing.T) {
	const most = 640
	if n := unsafe.Sizeof(session{}); n > most {
		t.Errorf("a session is %d bytes, want at most %d", n, most)
	}
}
