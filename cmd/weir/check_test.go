package main

import (
	"os"
	"strings"
	"testing"

	"weir/configs"
	"weir/internal/sock"
)

func TestTheReadmeShowsTheConfigurationThatCheckPrints(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "```yaml\n"+configs.Minimal()+"```") {
		t.Errorf("the README has not\n%s", configs.Minimal())
	}
}

// configs imports nothing of ours, so it has the bounds of sock once more.
func TestTheDescriptorsThatACheckCountsAreThoseThatAListenerHolds(t *testing.T) {
	c := configOf(t, strings.Replace(configs.Minimal(), "    backend: api\n", "    backend: api\n    max_clients: 1000\n", 1))
	l, b := c.Listeners[0], c.Backends[0]
	want := int(sock.MaxClosing(int64(l.MaxClients))) + sock.MaxRefused + sock.MaxShards
	if got := c.Descriptors() - l.MaxClients - b.Pool.MaxOpen - b.Pool.Reserved - 320; got != want {
		t.Errorf("a listener of max_clients 1000 has %d descriptors beside them, by configs %d", want, got)
	}
}
