//go:build !linux

package procs

import "time"

// idle: here nobody says, so there always is a free processor.
type idle struct{}

func (*idle) free(time.Time) float64 { return 1 }

func (*idle) forget() {}
