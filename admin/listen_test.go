package admin

import (
	"net"
	"os"
	"strings"
	"testing"
)

func TestOnlyLoopbackIsBoundUnlessClientsLogIn(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:9900": true, "127.8.0.1:9900": true, "[::1]:9900": true, "localhost:9900": true, "[::ffff:127.0.0.1]:9900": true,
		":9900": false, "0.0.0.0:9900": false, "[::]:9900": false, "192.0.2.1:9900": false, "weir.internal:9900": false,
	} {
		err := allowed(address, false)
		if (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
		if err != nil && (!strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "127.0.0.1")) {
			t.Errorf("%s: the error names neither the address nor what to do: %v", address, err)
		}
		if err := allowed(address, true); err != nil {
			t.Errorf("%s, where clients log in: %v", address, err)
		}
	}
	for _, address := range []string{"9900", "", "127.0.0.1"} {
		if err := allowed(address, true); err == nil {
			t.Errorf("%q was taken for an address", address)
		}
	}
}

func TestASocketFileIsItsOwnersOnly(t *testing.T) {
	path := socketPath(t)
	ln, done, err := listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Perm() != 0o600 || st.Mode().Type() != os.ModeSocket {
		t.Errorf("mode %v, %v; want a socket with 0600", st.Mode(), err)
	}
	ln.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("closing alone removed the file: %v", err)
	}
	done()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

func TestAStaleSocketFileIsReplacedAndALiveOneIsNot(t *testing.T) {
	path := socketPath(t)
	left, _, err := listen("unix:"+path, false) // as a killed process leaves it
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "somebody answers") {
		t.Errorf("the socket of a living process: %v", err)
	}
	left.Close()
	ln, done, err := listen("unix:"+path, false)
	if err != nil {
		t.Fatalf("the socket of a dead process: %v", err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Errorf("after the replacement: %v", err)
	} else {
		c.Close()
	}
	ln.Close()
	done()
}

func TestAFileThatIsNoSocketIsLeftAlone(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := listen("unix:"+path, false); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

func TestCloseLeavesASocketFileThatIsAnothers(t *testing.T) {
	path := socketPath(t)
	ln, done, err := listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	// Another process removes the file and listens there itself.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, otherDone, err := listen("unix:"+path, false)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	done()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's socket file was removed: %v", err)
	}
	other.Close()
	otherDone()
}
