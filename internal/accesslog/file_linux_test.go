package accesslog

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
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
			f, err := open(path)
			if f != nil {
				f.Close()
			}
			for name, err := range map[string]error{"Check": Check(path), "Open": err} {
				if err == nil || !strings.HasPrefix(err.Error(), path+": cannot be opened: permission denied; the user that runs weir") {
					t.Errorf("%s(%s): %v", name, path, err)
				}
			}
		}
	}()
	<-done
}
