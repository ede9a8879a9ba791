package audit

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Blocks of settings that articles end with, and what is found once they are in
// force on a kernel of today, which lacks what is gone.
var blocks = map[string]struct {
	verdicts map[string]Verdict // what is not Pass
	advice   []string
}{
	"high-load-server.conf": {
		map[string]Verdict{"port_parity": Warn, "tw_buckets": Warn, "sysctl_files": Warn},
		[]string{"net.ipv4.tcp_tw_recycle", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_keepalive_time"},
	},
	"agent-installer.conf": {
		map[string]Verdict{"port_parity": Warn, "timestamps": Fail, "tw_reuse": Warn, "tw_buckets": Warn, "fin_timeout": Warn},
		[]string{"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_keepalive_time"},
	},
	"old-nat-gateway.conf": {
		map[string]Verdict{"port_budget": Warn, "syncookies": Warn, "abort_on_overflow": Fail, "somaxconn": Fail, "sysctl_files": Warn},
		[]string{"net.ipv4.tcp_tw_recycle", rangeKey, "net.ipv4.tcp_syncookies", "net.ipv4.tcp_fack", "net.ipv4.tcp_low_latency"},
	},
}

func TestTheBlocksOfArticlesAreAnsweredByName(t *testing.T) {
	all, err := filepath.Glob("testdata/*.conf")
	if err != nil || len(all) != len(blocks) {
		t.Fatalf("%d blocks in testdata, %d are known: %v", len(all), len(blocks), err)
	}
	for _, file := range all {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := aScene()
			s.files["etc/sysctl.conf"] = string(text)
			for _, l := range settings(string(text)) {
				if _, ok := s.files[sysctlFile(l.key)]; ok { // sysctl -p goes on after what it lacks
					s.set(l.key, l.value)
				}
			}
			want := blocks[filepath.Base(file)]
			got := map[string]Verdict{}
			for name, f := range s.run() {
				if f.Verdict != Pass {
					got[name] = f.Verdict
				}
			}
			if !maps.Equal(got, want.verdicts) {
				t.Errorf("got %v, want %v", got, want.verdicts)
			}
			var names []string
			for _, a := range answers(&Machine{FS: s.tree()}) {
				names = append(names, a.Name)
				if a.Answer == "" || !strings.HasPrefix(a.Found, "in force: ") && !strings.HasPrefix(a.Found, "/etc/sysctl.conf: ") {
					t.Errorf("%+v", a)
				}
			}
			if !slices.Equal(names, want.advice) {
				t.Errorf("answered: %v, want %v", names, want.advice)
			}
		})
	}
}

func TestAKernelAsItComesFollowsNoAdvice(t *testing.T) {
	if got := answers(&Machine{FS: healthy().tree()}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
	// A file that sets what is right, or that is only a comment, is no advice.
	f := healthy()
	f["etc/sysctl.d/10.conf"] = "# net.ipv4.tcp_tw_recycle = 1\n;net.ipv4.tcp_tw_recycle=1\nnet.ipv4.tcp_tw_recycle = 0\n"
	if got := answers(&Machine{FS: f.tree()}); len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestSettingsAreReadAsSysctlReadsThem(t *testing.T) {
	got := settings("# a = 1\n; b = 1\n\n  net.core.somaxconn=1\n-net/ipv4/tcp_fack = 2 # why\nnet.ipv4.ip_local_port_range\t= 1024\t65000 \nno value\n")
	want := []line{{key: "net.core.somaxconn", value: "1"}, {key: "net.ipv4.tcp_fack", value: "2"}, {key: rangeKey, value: "1024 65000"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
