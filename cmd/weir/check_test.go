package main

import (
	"os"
	"strings"
	"testing"
)

func TestTheReadmeShowsTheConfigurationThatCheckPrints(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "```yaml\n"+leastConfig+"```") {
		t.Errorf("the README has not\n%s", leastConfig)
	}
}
