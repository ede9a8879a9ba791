package accesslog

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatTheUserMayNotWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	shut, file := filepath.Join(dir, "shut"), filepath.Join(dir, "file")
	if err := os.Mkdir(shut, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		for p := dir; p != "/"; p = filepath.Dir(p) { // the other user has to get here
			if info, err := os.Stat(p); err == nil && info.Mode()&0o001 == 0 {
				os.Chmod(p, info.Mode().Perm()|0o001)
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Getuid() == 0 { // root may write everywhere, so this thread is somebody else's to its end
			runtime.LockOSThread()
			const nobody = 65534
			if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				t.Error(errno)
				return
			}
		}
		for _, path := range []string{file, filepath.Join(shut, "access.log")} {
			f, err := open(path, anything)
			if f != nil {
				f.Close()
			}
			for name, err := range map[string]error{"Check": check(path, anything), "Open": err} {
				if err == nil || !strings.HasPrefix(err.Error(), path+": cannot be opened: permission denied; the user that runs weir") {
					t.Errorf("%s(%s): %v", name, path, err)
				}
			}
		}
	}()
	<-done
}

func TestFilesOfTheKernelAreRefused(t *testing.T) {
	for _, path := range []string{"/proc/self/comm", "/proc/self/oom_score_adj", "/sys/kernel/profiling"} {
		if _, err := os.Stat(path); err != nil && strings.HasPrefix(path, "/sys") {
			continue // a container may have no /sys
		}
		for name, err := range map[string]error{"Check": Check(path, anything), "Open": openError(path)} {
			if err == nil || !strings.Contains(err.Error(), "is a file of the kernel; a log goes to") {
				t.Errorf("%s(%s): %v", name, path, err)
			}
		}
	}
}

func TestCheckSaysWhatAPipeNeedsAndDoesNotOpenIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Check(path, anything); err == nil || !strings.Contains(err.Error(), "while nobody reads it") {
		t.Errorf("Check: %v", err)
	}
	// A pipe that was never opened for writing has had no end yet: poll says so.
	ready := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 0); n != 0 || err != nil {
		t.Errorf("the reader was told of something: %v, %v", ready, err)
	}
}

func TestARunningProgramIsRefused(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"Check": Check(self, anything), "Open": openError(self)} {
		if !errors.Is(err, syscall.ETXTBSY) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
