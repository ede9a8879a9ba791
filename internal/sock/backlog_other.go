//go:build !linux

package sock

// Backlog is known on Linux alone.
func (l *Listener) Backlog() (waiting, most int) { return 0, 0 }
