package configs

import (
	"errors"
	"strings"
	"testing"
)

func TestAnAccessLogIsNoneAStandardStreamOrWhatLooksLikeAPath(t *testing.T) {
	for _, tc := range []struct{ written, text string }{
		{"none", ""}, {"stderr", ""}, {"access.log", ""}, {"./off", ""}, {"/var/log/weir/access.log", ""}, {"/dev/null", ""}, {"stdout", ""}, {"/dev/fd/3", ""},
		{`"logs/of the day/caf\u00e9.log"`, ""},
		{"off", `"off" is none of: none, stderr, stdout, a path; for a file of that name write ./off`},
		{"None", `"None" is none of: none, stderr, stdout, a path; for a file of that name write ./None`},
		{"/dev/stderr", "overwrite each other; write stderr"}, {"/dev/fd/2", "write stderr"}, {"/proc/self/fd/2", "write stderr"},
		{"/dev/stdout", "overwrite each other; write stdout"}, {"/dev/fd/1", "write stdout"}, {"/proc/self/fd/1", "write stdout"},
		{"/dev//fd/./1", "write stdout"},
		{"logs/", `"logs/" is a directory; write the path of a file`},
		{`""`, "must not be empty"},
		{`"a.log\e[2J"`, "must not hold control characters"},
		{"/" + strings.Repeat("x", 5000), "has 5001 bytes; a path holds 4095"},
		{"[a.log]", "is a list"},
	} {
		c, _, err := Parse("weir.yaml", []byte(base+"log: {access: "+tc.written+"}\n"))
		if tc.text == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.written, err)
			} else if got := c.Log.Access; got == "" || !strings.HasSuffix(strings.Trim(tc.written, `"`), got) && !strings.Contains(got, " ") {
				t.Errorf("%s was read as %q", tc.written, got)
			}
			continue
		}
		es, ok := errors.AsType[*Errors](err)
		if !ok || len(es.List) != 1 || es.List[0].Path != "log.access" || es.List[0].Line != 9 || !strings.Contains(es.List[0].Text, tc.text) {
			t.Errorf("%.40s: got %v, want %q", tc.written, err, tc.text)
		}
	}
}

func TestAConfigurationKnowsWhereItsKeysAreWritten(t *testing.T) {
	c, _, err := Parse("weir.yaml", []byte(base+"log: {access: a.log}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if line, col := c.At("log.access"); line != 9 || col != 15 {
		t.Errorf("log.access is at %d:%d", line, col)
	}
	if line, col := c.At("log.level"); line != 0 || col != 0 {
		t.Errorf("log.level, which is a default, is at %d:%d", line, col)
	}
}
