package testnet

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// mariadbLogFile is given when the data directory is made and when the server
// starts: where the two differ the server makes the file again.
const mariadbLogFile = "--innodb-log-file-size=64M"

// dataTemplate is a data directory as it was made, with users and databases, as
// a tar archive in a file that has no name any more: nothing stays behind when
// the test process ends, however it does.
type dataTemplate struct {
	file *os.File
	size int64
}

var (
	templateOnce sync.Once
	template     dataTemplate
	templateErr  error
)

// mariadbTemplate makes the data directory once per test process.
func mariadbTemplate(t testing.TB) *dataTemplate {
	t.Helper()
	NeedProgram(t, "mariadbd")
	install := NeedProgram(t, "mariadb-install-db")
	templateOnce.Do(func() { template, templateErr = makeTemplate(t, install) })
	if templateErr != nil {
		t.Fatalf("make mariadbd's data directory: %v", templateErr)
	}
	return &template
}

func makeTemplate(t testing.TB, install string) (dataTemplate, error) {
	m := &MariaDB{t: t, dir: shortDir(t)}
	ctx, cancel := context.WithTimeout(context.Background(), 6*startTimeout)
	defer cancel()
	args := append([]string{
		"--no-defaults", "--datadir=" + m.dataDir(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", mariadbLogFile,
	}, asRoot()...)
	cmd := exec.CommandContext(ctx, install, args...)
	// A mariadbd that starts takes what temporary tables it finds for its own.
	cmd.Env = append(os.Environ(), "TMPDIR="+m.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = stopTimeout
	if out, err := cmd.CombinedOutput(); err != nil {
		return dataTemplate{}, fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	if err := m.addUsers(); err != nil {
		return dataTemplate{}, err
	}
	return pack(m.dataDir())
}

// addUsers starts a server on the new data that nobody else can reach: roles
// need somebody who makes them, so the installation's own mode will not do.
func (m *MariaDB) addUsers() error {
	m.root = openMariaDB(m.t, m.rootDSN())
	defer m.root.Close()
	m.o.flags = []string{"--skip-networking"}
	m.addr = netip.AddrPortFrom(loopback, 0)
	if err := m.start(); err != nil {
		return err
	}
	defer m.Stop()
	for _, statement := range mariadbUsers {
		if _, err := m.root.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// pack puts the files of dir into an archive.
func pack(dir string) (dataTemplate, error) {
	file, err := os.CreateTemp("", "weir-db-")
	if err != nil {
		return dataTemplate{}, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return dataTemplate{}, err
	}
	w := tar.NewWriter(file)
	if err := errors.Join(w.AddFS(os.DirFS(dir)), w.Close()); err != nil {
		return dataTemplate{}, err
	}
	size, err := file.Seek(0, io.SeekCurrent)
	return dataTemplate{file, size}, err
}

// unpack writes the files into dir, which is made. It may be called by several
// goroutines at once.
func (d *dataTemplate) unpack(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for r := tar.NewReader(io.NewSectionReader(d.file, 0, d.size)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			err = unpackFile(path, r, h.Size)
		}
		if err != nil {
			return err
		}
	}
}

// unpackFile leaves holes where the file is zeros, which is most of the logs.
func unpackFile(path string, r io.Reader, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	buf, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < size; {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), size-at)])
		if err != nil {
			return err
		}
		if !bytes.Equal(buf[:n], zeros[:n]) {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
	}
	return nil
}
