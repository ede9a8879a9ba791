//go:build !linux

package sock

import "syscall"

func listenSockopts(syscall.RawConn, bool, bool) error { return nil }

func dialSockopts(syscall.RawConn, bool) error { return nil }
