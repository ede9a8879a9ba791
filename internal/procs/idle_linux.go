package procs

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// idle reads how much of all processors' time nobody used: the fourth number of
// the first line of /proc/stat (proc_stat(5)), in hundredths of a second.
type idle struct {
	last int64
	at   time.Time // zero: last is nothing to go by
}

// free returns how many processors were free since the last call, and none at
// the first.
func (i *idle) free(now time.Time) float64 {
	n, ok := readIdle()
	was, at := i.last, i.at
	i.last, i.at = n, now
	if !ok {
		i.at = time.Time{}
	}
	if !ok || at.IsZero() || !now.After(at) {
		return 0
	}
	return float64(n-was) * float64(10*time.Millisecond) / float64(now.Sub(at))
}

func (i *idle) forget() { i.at = time.Time{} }

func readIdle() (int64, bool) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	var b [256]byte // of a file of some KiB only the beginning is made
	n, _ := f.Read(b[:])
	return parseIdle(b[:n])
}

func parseIdle(b []byte) (int64, bool) {
	f := bytes.Fields(b)
	if len(f) < 5 || string(f[0]) != "cpu" {
		return 0, false
	}
	n, err := strconv.ParseInt(string(f[4]), 10, 64)
	return n, err == nil
}
