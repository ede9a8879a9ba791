//go:build !weir_netconn

package accept

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/testnet"
)

// runImage runs the image as a container in every way that users do.
func runImage(t *testing.T, img *image) {
	for _, proc := range []bool{true, false} {
		name := map[bool]string{true: "with /proc", false: "without /proc"}[proc]
		t.Run("serves "+name, func(t *testing.T) { serveFromImage(t, img, proc) })
		t.Run("runs every other command "+name, func(t *testing.T) { runCommands(t, img, proc) })
	}
	t.Run("says which configuration is missing", func(t *testing.T) {
		c := img.run(t, containerOptions{Net: testnet.NewNetns(t)})
		if code := c.wait(20 * time.Second); code != 2 {
			t.Errorf("exit code %d, want 2", code)
		}
		if want := configPath(t, img) + ": cannot open the file: no such file or directory"; !strings.Contains(c.stderr.String(), want) {
			t.Errorf("it says %q, want %q", c.stderr.String(), want)
		}
	})
	t.Run("reaches a backend by the name that a hosts file has", func(t *testing.T) {
		ns := testnet.NewNetns(t)
		nginx := imageBackend(t, ns)
		conf := configFile(t, fmt.Sprintf("api.test:%d", nginx.Addr.Port()), 4)
		hosts := filepath.Join(t.TempDir(), "hosts")
		if err := os.WriteFile(hosts, []byte("127.0.0.1 api.test\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		c := img.run(t, containerOptions{Net: ns, Proc: true, Binds: map[string]string{path.Dir(configPath(t, img)): filepath.Dir(conf), "/etc/hosts": hosts}})
		c.started()
		if code, body := c.get("http://127.0.0.1:8080/"); code != 200 || body != nginxBody {
			t.Errorf("got %d %q", code, body)
		}
	})
}

// configFile writes weir.yaml for a backend into a directory of its own, which
// can be mounted. Its ports are in a network that the container has alone.
func configFile(t *testing.T, backend string, maxOpen int) string {
	t.Helper()
	dir := t.TempDir()
	// The image's user is nobody here.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "weir.yaml")
	writeConfig(t, file, backend, maxOpen)
	return file
}

func writeConfig(t *testing.T, file, backend string, maxOpen int) {
	t.Helper()
	text := fmt.Sprintf(`
listeners: [{name: web, protocol: http, address: ":8080", backend: api, max_clients: 500}]
backends: [{name: api, endpoints: ["%s"], pool: {max_open: %d}}]
`, backend, maxOpen)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func imageBackend(t *testing.T, ns *testnet.Netns) *testnet.Server {
	t.Helper()
	return testnet.StartNginx(t, testnet.ServerOptions{NS: ns, Config: `
		server { listen {addr}; default_type text/plain; location / { return 200 "` + nginxBody + `"; } }`})
}

// get makes a request in the container's network.
func (c *container) get(url string) (int, string) {
	c.t.Helper()
	resp, err := c.client().Get(url)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func serveFromImage(t *testing.T, img *image, proc bool) {
	ns := testnet.NewNetns(t)
	nginx := imageBackend(t, ns)
	conf := configFile(t, nginx.Addr.String(), 4)
	c := img.run(t, containerOptions{Net: ns, Proc: proc, Binds: map[string]string{path.Dir(configPath(t, img)): filepath.Dir(conf)}})
	c.started()
	for range 20 {
		if code, body := c.get("http://127.0.0.1:8080/"); code != 200 || body != nginxBody {
			t.Fatalf("got %d %q", code, body)
		}
	}
	checkPrivileges(t, c)
	checkReadOnly(t, c, img)
	if code, body := c.get("http://127.0.0.1:9900/readyz"); code != 200 {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, body := c.get("http://127.0.0.1:9900/api/status"); code != 200 || !strings.Contains(body, imageVersion) {
		t.Errorf("/api/status: %d %s", code, body)
	}
	code, metrics := c.get("http://127.0.0.1:9900/metrics")
	if want := `weir_requests_total{backend="api",listener="web",outcome="2xx"} 20`; code != 200 || !strings.Contains(metrics, want) {
		t.Errorf("/metrics: %d, want %s in\n%s", code, want, metrics)
	}
	// It is from /proc that client_golang has these; without it they are left out.
	if has := strings.Contains(metrics, "process_resident_memory_bytes"); has != proc {
		t.Errorf("process metrics: %v, /proc: %v", has, proc)
	}

	// docker kill --signal HUP. The directory is mounted, so a file that an
	// editor put in place of the old one is seen too.
	next := filepath.Join(t.TempDir(), "next.yaml")
	writeConfig(t, next, nginx.Addr.String(), 5)
	if err := os.Rename(next, conf); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGHUP)
	testnet.WaitFor(t, 10*time.Second, "the reload of a replaced file", func() bool {
		return strings.Contains(c.stderr.String(), `"key":"backends[api].pool.max_open","old":"4","new":"5"`)
	})
	if strings.Contains(c.stderr.String(), `"level":"WARN"`) || strings.Contains(c.stderr.String(), `"level":"ERROR"`) {
		t.Errorf("it complains:\n%s", c.stderr.String())
	}

	// docker stop. Process 1 gets no signal that it does not ask for.
	c.signal(syscall.SIGTERM)
	if code := c.wait(20 * time.Second); code != 0 {
		t.Errorf("after SIGTERM the exit code is %d", code)
	}
	if !strings.Contains(c.stderr.String(), `"msg":"stopped"`) {
		t.Errorf("the log does not end with stopped:\n%s", c.stderr.String())
	}
}

func checkPrivileges(t *testing.T, c *container) {
	t.Helper()
	b, err := os.ReadFile(c.file("status"))
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]string{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Join(strings.Fields(value), " ")
	}
	const none = "0000000000000000"
	for key, want := range map[string]string{
		"Name": "weir", "Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1",
	} {
		if got, ok := status[key]; !ok || got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if f := strings.Fields(status["NSpid"]); len(f) != 2 || f[1] != "1" {
		t.Errorf("NSpid: %q, want to be process 1 inside", status["NSpid"])
	}
}

// checkReadOnly tries to write into every directory of the container, as root
// even: what weir did so far, it did without.
func checkReadOnly(t *testing.T, c *container, img *image) {
	t.Helper()
	dirs := []string{"/"}
	for name, f := range readTree(t, img.root) {
		if f.mode.IsDir() {
			dirs = append(dirs, name)
		}
	}
	for _, dir := range dirs {
		file := path.Join(c.file("root"), dir, "written")
		if err := os.WriteFile(file, nil, 0o644); !errors.Is(err, syscall.EROFS) {
			t.Errorf("write into %s: %v, want a read-only file system", dir, err)
		}
	}
	if _, err := os.OpenFile(path.Join(c.file("root"), "weir"), os.O_WRONLY, 0); err == nil {
		t.Error("the binary can be opened for writing")
	}
	if _, err := os.Stat(path.Join(c.file("root"), "tmp")); err == nil {
		t.Error("there is a /tmp, and weir is to do without")
	}
}

func runCommands(t *testing.T, img *image, proc bool) {
	ns := testnet.NewNetns(t)
	conf := configFile(t, "127.0.0.1:9001", 4)
	o := containerOptions{Net: ns, Proc: proc, Binds: map[string]string{path.Dir(configPath(t, img)): filepath.Dir(conf)}}
	for _, command := range []struct {
		args []string
		want string // in what it prints to stdout
	}{
		{[]string{"version"}, "weir " + imageVersion + " go"},
		{[]string{"check", "-config", configPath(t, img)}, configPath(t, img) + ": ok: 1 listener, 1 backend"},
		{[]string{"check", "-effective", "-config", configPath(t, img)}, "drain:"},
		{[]string{"demo", "-once", "-n", "400", "-c", "8"}, "  requests answered                           400            400\n  errors                                        0              0\n"},
	} {
		c := img.run(t, o, command.args...)
		if code := c.wait(60 * time.Second); code != 0 {
			t.Errorf("%v: exit code %d: %s", command.args, code, c.stderr.String())
		}
		if !strings.Contains(c.stdout.String(), command.want) {
			t.Errorf("%v: it prints\n%s\nwithout %q", command.args, c.stdout.String(), command.want)
		}
		if c.stderr.String() != "" {
			t.Errorf("%v: it says %s", command.args, c.stderr.String())
		}
	}
}
