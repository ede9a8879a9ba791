package accesslog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fileMode is for a file that is made: lines hold addresses of clients and
// paths, which are not everybody's.
const fileMode = 0o640

// openPatience bounds Open: a file server that is gone does not answer, and must
// not keep a reload or a stop from going on.
const openPatience = 5 * time.Second

// Open opens the file of that path for lines to be appended, and makes it if it
// is not there. Pipes and character devices are taken too, as /dev/stdout is
// often one. The caller owns the file.
func Open(path string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result, 1)
	go func() { // nobody can wait for it if the kernel does not answer
		f, err := open(path)
		opened <- result{f, err}
	}()
	timer := time.NewTimer(openPatience)
	defer timer.Stop()
	select {
	case r := <-opened:
		return r.f, r.err
	case <-timer.C:
		go func() {
			if r := <-opened; r.f != nil {
				r.f.Close()
			}
		}()
		return nil, fmt.Errorf("%s: was not opened within %v; is its file system there?", path, openPatience)
	}
}

func open(path string) (*os.File, error) {
	// Stat first, as opening a device may already do something.
	if info, err := os.Stat(path); err == nil {
		if err := kindOf(path, info.Mode()); err != nil {
			return nil, err
		}
	}
	// Without O_NONBLOCK a pipe that nobody reads would be waited for.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, fileMode)
	if err != nil {
		return nil, explain(path, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = kindOf(path, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// kindOf refuses what lines cannot be appended to, or what they would destroy.
func kindOf(path string, m fs.FileMode) error {
	what := ""
	switch {
	case m.IsDir():
		what = "a directory"
	case m&fs.ModeSocket != 0:
		what = "a socket"
	case m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0:
		what = "a disk"
	default:
		return nil
	}
	return fmt.Errorf("%s: is %s; an access log goes to a regular file, a pipe or a character device", path, what)
}

// explain says what to do about the errors that are met most.
func explain(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: cannot be made: %w; the directory %s must be there", path, err, filepath.Dir(path))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: cannot be opened: %w; the user that runs weir must be allowed to write the file, and its directory if weir is to make it", path, err)
	case errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("%s: cannot be opened: %w; it is a pipe that nobody reads, or a socket, as /dev/stdout is under systemd: write stderr there", path, err)
	}
	return fmt.Errorf("%s: cannot be opened: %w", path, err)
}

// Check says what would keep Open from opening path now, as far as can be known
// without making or opening it.
func Check(path string) error {
	const write, search = 2, 1 // access(2)
	info, err := os.Stat(path)
	switch {
	case err == nil:
		if err := kindOf(path, info.Mode()); err != nil {
			return err
		}
		err = syscall.Access(path, write)
	case errors.Is(err, fs.ErrNotExist):
		err = syscall.Access(filepath.Dir(path), write|search)
	}
	if err != nil {
		return explain(path, err)
	}
	return nil
}
