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

// openPatience bounds Open and Check: a file server that is gone does not answer,
// and must not keep a reload or a stop from going on.
const openPatience = 5 * time.Second

// openFlags are for every open. Without O_NONBLOCK a pipe that nobody reads would
// be waited for; a terminal must not become the one whose end ends weir.
const openFlags = os.O_WRONLY | os.O_APPEND | syscall.O_NONBLOCK | syscall.O_NOCTTY

// Open opens the file of that path for lines to be appended, and makes it if it
// is not there. Pipes and character devices are taken too. allowed may refuse what
// is at path; it is asked before anything is opened, and again about what was
// opened, and not about a file that is not there yet. The caller owns the file.
func Open(path string, allowed func(fs.FileInfo) error) (*os.File, error) {
	return within(path, func() (*os.File, error) { return open(path, allowed) })
}

// Check says what would keep Open from opening path now. It makes no file, and
// opens only what does not notice: a device may do something at that, and the
// reader of a pipe sees its end when the only writer goes away.
func Check(path string, allowed func(fs.FileInfo) error) error {
	_, err := within(path, func() (*os.File, error) { return nil, check(path, allowed) })
	return err
}

func within(path string, do func() (*os.File, error)) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result, 1)
	go func() { // nobody can wait for it if the kernel does not answer
		f, err := do()
		done <- result{f, err}
	}()
	timer := time.NewTimer(openPatience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.f, r.err
	case <-timer.C:
		go func() {
			if r := <-done; r.f != nil {
				r.f.Close()
			}
		}()
		return nil, fmt.Errorf("%s: was not opened within %v; is its file system there?", path, openPatience)
	}
}

func open(path string, allowed func(fs.FileInfo) error) (*os.File, error) {
	// Stat first, as opening a device may already do something.
	if info, err := os.Stat(path); err == nil {
		if err := takes(path, info, allowed); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, openFlags|os.O_CREATE, fileMode)
	if err != nil {
		return nil, explain(path, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = takes(path, info, allowed)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func check(path string, allowed func(fs.FileInfo) error) error {
	const write, search = 2, 1 // access(2)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = syscall.Access(dirOf(target(path)), write|search)
	case err != nil:
	default:
		if err := takes(path, info, allowed); err != nil {
			return err
		}
		if info.Mode().IsRegular() || filepath.Clean(path) == "/dev/tty" {
			var f *os.File
			if f, err = os.OpenFile(path, openFlags, 0); err == nil {
				f.Close()
			}
			break
		}
		if err = syscall.Access(path, write); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			return fmt.Errorf("%s: is a pipe; weir run refuses to start, and to open it anew, while nobody reads it", path)
		}
	}
	if err != nil {
		return explain(path, err)
	}
	return nil
}

// target is where a file is made that is not there: at the end of the links that
// path is, if it is one. Nothing of it is cleaned, as a .. after a link is not
// what it looks like.
func target(path string) string {
	for range 40 { // as many as the kernel follows
		to, err := os.Readlink(path)
		switch {
		case err != nil:
			return path
		case filepath.IsAbs(to):
			path = to
		default:
			dir, _ := filepath.Split(path)
			path = dir + to
		}
	}
	return path
}

// dirOf is filepath.Dir that cleans nothing.
func dirOf(path string) string {
	switch dir, _ := filepath.Split(path); dir {
	case "":
		return "."
	case "/":
		return dir
	default:
		return dir[:len(dir)-1]
	}
}

// takes refuses what lines cannot be appended to, or what they would destroy.
func takes(path string, info fs.FileInfo, allowed func(fs.FileInfo) error) error {
	what := ""
	switch m := info.Mode(); {
	case m.IsDir():
		what = "a directory"
	case m&fs.ModeSocket != 0:
		what = "a socket"
	case m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0:
		what = "a disk"
	case m.IsRegular() && ofKernel(path):
		what = "a file of the kernel"
	default:
		if err := allowed(info); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	return fmt.Errorf("%s: is %s; a log goes to a regular file, a pipe or a character device", path, what)
}

// explain says what to do about the errors that are met most.
func explain(path string, err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: cannot be made: %w; the directory %s must be there", path, err, dirOf(target(path)))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: cannot be opened: %w; the user that runs weir must be allowed to write the file, and its directory if weir is to make it", path, err)
	case errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("%s: cannot be opened: %w; it is a pipe that nobody reads, a socket, or a device that is not there", path, err)
	case errors.Is(err, syscall.ETXTBSY):
		return fmt.Errorf("%s: cannot be opened: %w; it is a program that runs", path, err)
	}
	return fmt.Errorf("%s: cannot be opened: %w", path, err)
}
