package pressure

import (
	"os"
	"path/filepath"
	"testing"
)

// tree makes files below a new root.
func tree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// group is a cgroup's memory files.
func group(v *kind, dir, limit, current, stat string) map[string]string {
	return map[string]string{dir + "/" + v.limit: limit + "\n", dir + "/" + v.current: current + "\n", dir + "/memory.stat": stat}
}

func join(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// mounted are the two files that say where this process is.
func mounted(own, mountinfo string) map[string]string {
	return map[string]string{"proc/self/cgroup": own, "proc/self/mountinfo": mountinfo}
}

const (
	// As on a machine with version 2, and in a container there.
	mountV2 = "22 1 252:1 / / rw - ext4 /dev/vda1 rw\n35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	// As on a machine with version 1, which has a version 2 besides.
	mountV1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"

	ownV1 = "9:name=systemd:/\n4:memory:/docker/5f\n1:cpu,cpuacct:/docker/5f\n0::/\n"

	stat2 = "anon 700\nfile 290\nkernel 10\nshmem 0\nfile_mapped 5\ninactive_anon 0\nactive_anon 700\ninactive_file 200\nactive_file 90\nunevictable 0\n"
	stat1 = "cache 290\nrss 700\ninactive_file 1\nactive_file 1\nhierarchical_memory_limit 2000\ntotal_cache 290\ntotal_inactive_file 200\ntotal_active_file 90\n"
)

var places = []struct {
	name  string
	files map[string]string
	want  Use
}{
	{"a container of version 2",
		join(mounted("0::/\n", mountV2), group(v2, "sys/fs/cgroup", "2000", "1000", stat2)),
		Use{710, 2000, "/sys/fs/cgroup/memory.max"}},
	{"a unit of systemd, whose slice is nearer to its limit; the root has none",
		join(mounted("0::/app.slice/weir.service\n", mountV2),
			group(v2, "sys/fs/cgroup/app.slice/weir.service", "2000", "1000", stat2),
			group(v2, "sys/fs/cgroup/app.slice", "8000", "7900", "inactive_file 100\n")),
		Use{7800, 8000, "/sys/fs/cgroup/app.slice/memory.max"}},
	{"a unit whose slice has a larger limit and is less near to it",
		join(mounted("0::/app.slice/weir.service\n", mountV2),
			group(v2, "sys/fs/cgroup/app.slice/weir.service", "2000", "1000", stat2),
			group(v2, "sys/fs/cgroup/app.slice", "8000", "1000", stat2)),
		Use{710, 2000, "/sys/fs/cgroup/app.slice/weir.service/memory.max"}},
	{"only what is above has a limit",
		join(mounted("0::/a/b/c\n", mountV2),
			group(v2, "sys/fs/cgroup/a/b/c", "max", "1000", stat2),
			group(v2, "sys/fs/cgroup/a", "4000", "1000", stat2)),
		Use{710, 4000, "/sys/fs/cgroup/a/memory.max"}},
	{"no limit",
		join(mounted("0::/\n", mountV2), group(v2, "sys/fs/cgroup", "max", "1000", stat2)),
		Use{}},
	{"a container of version 1 that sees the whole machine's paths and its own files",
		join(mounted(ownV1, "35 31 0:32 /docker/5f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"),
			group(v1, "sys/fs/cgroup/memory", "2000", "1000", stat1)),
		Use{710, 2000, "/sys/fs/cgroup/memory/memory.limit_in_bytes"}},
	{"version 1, though version 2 is mounted too",
		join(mounted(ownV1, mountV1),
			group(v1, "sys/fs/cgroup/memory/docker/5f", "9223372036854771712", "1000", stat1),
			group(v1, "sys/fs/cgroup/memory/docker", "3000", "1000", stat1),
			group(v1, "sys/fs/cgroup/memory", "9223372036854771712", "99000", stat1),
			group(v2, "sys/fs/cgroup/unified", "1", "1000", stat2)),
		Use{710, 3000, "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes"}},
	{"a mount point with a blank",
		join(mounted("0::/\n", `35 24 0:30 / /my\040groups rw - cgroup2 none rw`+"\n"), group(v2, "my groups", "2000", "1000", stat2)),
		Use{710, 2000, "/my groups/memory.max"}},
	{"a mount of other cgroups",
		join(mounted("0::/weir\n", "35 24 0:30 /other /sys/fs/cgroup rw - cgroup2 none rw\n"), group(v2, "sys/fs/cgroup", "2000", "1000", stat2)),
		Use{}},
	{"a mount of cgroups whose name only begins as ours",
		join(mounted("0::/weird\n", "35 24 0:30 /weir /sys/fs/cgroup rw - cgroup2 none rw\n"), group(v2, "sys/fs/cgroup", "2000", "1000", stat2)),
		Use{}},
	{"a cgroup outside of the namespace",
		join(mounted("0::/../weir\n", mountV2), group(v2, "sys/fs/cgroup", "2000", "1000", stat2), group(v2, "sys/fs/weir", "2000", "1000", stat2)),
		Use{}},
	{"more cache than use, as the two are read at two times",
		join(mounted("0::/\n", mountV2), group(v2, "sys/fs/cgroup", "2000", "100", stat2)),
		Use{0, 2000, "/sys/fs/cgroup/memory.max"}},
	{"memory.stat without a cache",
		join(mounted("0::/\n", mountV2), group(v2, "sys/fs/cgroup", "2000", "100", "")),
		Use{100, 2000, "/sys/fs/cgroup/memory.max"}},
	{"no proc", nil, Use{}},
	{"no mount", mounted("0::/\n", ""), Use{}},
	{"nothing but noise", join(mounted("0\n::\n:memory:x\n0::x\n0::/\n", "-\n - \n1 2 3 4 5 - cgroup2\n"+mountV2), group(v2, "sys/fs/cgroup", "lots", "", "")), Use{}},
}

func TestTheNearestLimitOfAllCgroupsAboveCounts(t *testing.T) {
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			g := findCgroup(tree(t, p.files))
			defer g.close()
			if got := g.read(); got != p.want {
				t.Errorf("read %+v, want %+v", got, p.want)
			}
		})
	}
}

func TestALimitThatChangesIsSeenAtTheNextLook(t *testing.T) {
	root := tree(t, join(mounted("0::/\n", mountV2), group(v2, "sys/fs/cgroup", "max", "1000", stat2)))
	g := findCgroup(root)
	defer g.close()
	for _, limit := range []string{"max\n", "4000\n", "800\n", "max\n"} {
		if err := os.WriteFile(root+"/sys/fs/cgroup/memory.max", []byte(limit), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := g.read(); got.Bound != map[string]uint64{"4000\n": 4000, "800\n": 800}[limit] {
			t.Errorf("memory.max is %q, read %+v", limit, got)
		}
	}
}

func TestAProcessThatWasMovedIsFoundAgain(t *testing.T) {
	root := tree(t, join(mounted("0::/a\n", mountV2), group(v2, "sys/fs/cgroup/a", "2000", "1000", stat2), group(v2, "sys/fs/cgroup/b", "3000", "1000", stat2)))
	g := findCgroup(root)
	defer g.close()
	if got := g.read(); got.Bound != 2000 {
		t.Fatalf("read %+v", got)
	}
	// A cgroup that is gone answers ENODEV; what is no number is as bad.
	for name, text := range map[string]string{"sys/fs/cgroup/a/memory.current": "gone", "proc/self/cgroup": "0::/b\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.read(); got != (Use{}) {
		t.Errorf("read %+v of a cgroup that is gone", got)
	}
	if got := g.read(); got.Bound != 3000 || len(g.levels) != 1 {
		t.Errorf("then %+v, %d levels", got, len(g.levels))
	}
}
