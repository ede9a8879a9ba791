package configs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func changes(t *testing.T, before, after string) []string {
	t.Helper()
	var out []string
	for _, c := range Diff(mustParse(t, before), mustParse(t, after)) {
		s := c.String()
		if c.Restart {
			s += " (restart)"
		}
		out = append(out, s)
	}
	return out
}

const routed = `listeners:
  - name: web
    protocol: http
    address: 127.0.0.1:8080
    routes:
      - {host: shop.test, path: /a, backend: api, set_header: {X-A: secret-1, X-B: "2"}}
      - {path: /, backend: api}
backends:
  - name: api
    endpoints: [127.0.0.1:9001]
`

func TestDiffNamesEachChangedKey(t *testing.T) {
	swap := func(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }
	for _, tc := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", base, base, nil},
		{"a default written out", base, base + "    pool: {max_open: 64}\n", nil},
		{"values", base, base + "    pool: {max_open: 32, idle_timeout: 90m}\n    dial: {rate: 256/s}\n    retry_budget: 0%\n", []string{
			"backends[api].pool.max_open: 64 -> 32", "backends[api].pool.idle_timeout: 50s -> 1h30m", "backends[api].retry_budget: 10% -> 0%"}},
		{"a default that follows", base, base + "    pool: {max_open: 100}\n", []string{
			"backends[api].pool.max_open: 64 -> 100", "backends[api].dial.rate: 256/s -> 400/s"}},
		{"lists and absent values", base, swap(base, "backend: api", "backend: api\n    allow: [10.0.0.0/8, 192.0.2.1]\n    max_body: 1MiB\n    via: weir"), []string{
			"listeners[web].max_body: no limit -> 1MiB", "listeners[web].allow: everyone -> [10.0.0.0/8, 192.0.2.1]", "listeners[web].via: no Via is added -> weir"}},
		{"address", base, swap(base, "127.0.0.1:8080", "[127.0.0.1:8080, \":8081\"]"), []string{
			"listeners[web].address: [127.0.0.1:8080] -> [127.0.0.1:8080, :8081]"}},
		{"endpoint", base, swap(base, "9001", "9002"), []string{
			"backends[api].endpoints: [127.0.0.1:9001] -> [127.0.0.1:9002]"}},
		{"source", base, base + "    source: 127.0.0.5\n", []string{"backends[api].source: the kernel chooses -> 127.0.0.5"}},
		{"renamed", base, swap(base, "api", "app"), []string{
			"listeners[web].backend: api -> app", "backends[api]: removed", "backends[app]: added"}},
		{"admin", base, base + "admin: {address: 127.0.0.1:9901, pprof: true}\n", []string{
			"admin.address: 127.0.0.1:9900 -> 127.0.0.1:9901 (restart)", "admin.pprof: false -> true (restart)"}},
		{"global", base, base + "log: {level: warn}\ndrain: {timeout: 1s}\nmemory: {buffers: 2GiB}\n", []string{
			"log.level: info -> warn", "drain.timeout: 30s -> 1s", "memory.buffers: 256MiB -> 2GiB"}},
		{"route to backend", routed, base, []string{
			`listeners[web].backend: "" -> api`, "listeners[web].routes[shop.test/a]: removed", "listeners[web].routes[/]: removed"}},
		{"route", routed, swap(routed, "path: /a, backend: api", "path: /a, backend: api, strip: true"), []string{
			"listeners[web].routes[shop.test/a].strip: false -> true"}},
		{"header values stay out", routed, swap(routed, "secret-1", "secret-2", "X-B", "X-C"), []string{
			"listeners[web].routes[shop.test/a].set_header.X-A: (a value) -> (another value)",
			"listeners[web].routes[shop.test/a].set_header.X-B: removed", "listeners[web].routes[shop.test/a].set_header.X-C: added"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, changes(t, tc.before, tc.after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDiffIgnoresTheOrderOfNamedLists(t *testing.T) {
	two := base + "  - {name: b, endpoints: [10.0.0.1:80]}\n  - {name: c, endpoints: [10.0.0.2:80]}\n"
	swapped := base + "  - {name: c, endpoints: [10.0.0.2:80]}\n  - {name: b, endpoints: [10.0.0.1:80]}\n"
	if got := changes(t, two, swapped); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}
