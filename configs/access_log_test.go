package configs

import (
	"errors"
	"strings"
	"testing"
)

func TestAnAccessLogIsNoneStderrOrWhatLooksLikeAPath(t *testing.T) {
	for _, tc := range []struct{ written, text string }{
		{"none", ""}, {"stderr", ""}, {"access.log", ""}, {"./off", ""}, {"/var/log/weir/access.log", ""}, {"/dev/null", ""}, {"/dev/stdout", ""},
		{`"logs/of the day/caf\u00e9.log"`, ""},
		{"off", `"off" is neither none nor stderr; for a file of that name write ./off`},
		{"None", `"None" is neither none nor stderr; for a file of that name write ./None`},
		{"stdout", `"stdout" is none of: none, stderr, a path; write /dev/stdout`},
		{"/dev/stderr", "write stderr: as a file its lines"},
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
