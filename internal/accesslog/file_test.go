package accesslog

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// anything refuses nothing.
func anything(fs.FileInfo) error { return nil }

// mustOpen opens path, of which Check must have nothing to say.
func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	if err := Check(path, anything); err != nil {
		t.Errorf("Check: %v", err)
	}
	f, err := Open(path, anything)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAFileIsMadeForTheOwnerAndGroupAndAppendedTo(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	path := filepath.Join(t.TempDir(), "access.log")
	a, b := mustOpen(t, path), mustOpen(t, path)
	a.WriteString("1\n")
	b.WriteString("2\n")
	a.WriteString("3\n")
	if err := os.Truncate(path, 2); err != nil { // as copytruncate does
		t.Fatal(err)
	}
	b.WriteString("4\n")
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "1\n4\n" {
		t.Errorf("%q, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fileMode {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestALinkIsFollowedAndAFileKeepsItsMode(t *testing.T) {
	dir := t.TempDir()
	link, target := filepath.Join(dir, "link"), filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, link).WriteString("1\n")
	info, err := os.Stat(target)
	if err != nil || info.Size() != 2 || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestDevNullIsTaken(t *testing.T) {
	if _, err := mustOpen(t, "/dev/null").WriteString("1\n"); err != nil {
		t.Error(err)
	}
}

func TestAPipeIsTakenWithAReaderAndNotWaitedForWithoutOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(path, anything); err == nil || !strings.Contains(err.Error(), "a pipe that nobody reads") {
		t.Errorf("without a reader: %v, %v", f, err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := Open(path, anything)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.WriteString("1\n")
	b := make([]byte, 8)
	if n, err := r.Read(b); err != nil || string(b[:n]) != "1\n" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestAFileThatIsNotThereIsCheckedAtTheEndOfItsLinks(t *testing.T) {
	dir := t.TempDir()
	for name, to := range map[string]string{"a": "b", "b": dir + "/real/access.log"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "a")
	for name, err := range map[string]error{"Check": Check(link, anything), "Open": openError(link)} {
		if err == nil || !strings.Contains(err.Error(), "the directory "+dir+"/real must be there") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Mkdir(dir+"/real", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Check(link, anything); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + "/real/access.log"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Check made the file: %v", err)
	}
	mustOpen(t, link)
}

func TestTheCallerMayRefuseAFileBeforeAnythingIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	no := errors.New("is mine")
	refuse := func(fs.FileInfo) error { return no }
	_, err := Open(path, refuse)
	for name, err := range map[string]error{"Check": Check(path, refuse), "Open": err} {
		if !errors.Is(err, no) || err.Error() != path+": is mine" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatCannotHoldLinesIsRefusedByNameAndReason(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		dir:                           "is a directory; a log goes to",
		socket:                        "is a socket; a log goes to",
		filepath.Join(dir, "no", "a"): "no such file or directory; the directory " + filepath.Join(dir, "no") + " must be there",
		filepath.Join(socket, "a"):    "not a directory",
		strings.Repeat("x", 300):      "file name too long",
	} {
		for name, err := range map[string]error{"Check": Check(path, anything), "Open": openError(path)} {
			if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s(%.40s): %v, want %q", name, path, err, want)
			}
		}
	}
	if after, err := os.ReadDir(dir); err != nil || len(after) != 1 {
		t.Errorf("files were made: %v, %v", after, err)
	}
}

func openError(path string) error {
	f, err := Open(path, anything)
	if f != nil {
		f.Close()
	}
	return err
}
