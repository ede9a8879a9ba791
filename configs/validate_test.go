package configs

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// validate checks a value against the part of JSON Schema that schema.json
// uses, and returns where it does not fit. A keyword it does not know is an
// error, so that the schema cannot use more than is checked here.
func validate(schema map[string]any, v any, at string) (bad []string) {
	add := func(format string, args ...any) { bad = append(bad, at+": "+fmt.Sprintf(format, args...)) }
	props, _ := schema["properties"].(map[string]any)
	obj, isObj := v.(map[string]any)
	list, isList := v.([]any)
	text, isText := v.(string)
	num, isNum := v.(float64)
	for word, arg := range schema {
		switch word {
		case "$schema", "title", "description", "default", "properties", "if":
		case "type":
			_, isBool := v.(bool)
			is := map[string]bool{"object": isObj, "array": isList, "string": isText, "integer": isNum, "boolean": isBool}
			if !is[arg.(string)] {
				add("is not of type %s: %v", arg, v)
			}
		case "const":
			if v != arg {
				add("%v is not %v", v, arg)
			}
		case "then", "else":
			cond, _ := schema["if"].(map[string]any)
			if fits := cond != nil && len(validate(cond, v, at)) == 0; fits == (word == "then") {
				bad = append(bad, validate(arg.(map[string]any), v, at)...)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				add("%v is not in %v", v, arg)
			}
		case "pattern":
			if isText && !regexp.MustCompile(arg.(string)).MatchString(text) {
				add("%q does not match %s", text, arg)
			}
		case "minimum":
			if isNum && num < arg.(float64) {
				add("%v is below %v", num, arg)
			}
		case "maximum":
			if isNum && num > arg.(float64) {
				add("%v is above %v", num, arg)
			}
		case "minItems":
			if isList && float64(len(list)) < arg.(float64) {
				add("has %d items", len(list))
			}
		case "minProperties":
			if isObj && float64(len(obj)) < arg.(float64) {
				add("has %d keys", len(obj))
			}
		case "items":
			for i, item := range list {
				bad = append(bad, validate(arg.(map[string]any), item, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "required":
			for _, key := range arg.([]any) {
				if _, ok := obj[key.(string)]; !ok {
					add("%v is missing", key)
				}
			}
		case "oneOf":
			fits, why := 0, ""
			for _, one := range arg.([]any) {
				if more := validate(one.(map[string]any), v, at); len(more) == 0 {
					fits++
				} else {
					why = strings.Join(more, "; ")
				}
			}
			if fits != 1 {
				add("fits %d of %d choices: %s", fits, len(arg.([]any)), why)
			}
		case "additionalProperties":
			for key, item := range obj {
				if sub, ok := arg.(map[string]any); ok {
					bad = append(bad, validate(sub, item, at+"."+key)...)
				} else if _, known := props[key]; !known {
					add("key %q is not known", key)
				}
			}
		default:
			add("keyword %s is not known to this test", word)
		}
	}
	for key, item := range obj {
		switch sub := props[key].(type) {
		case map[string]any:
			bad = append(bad, validate(sub, item, at+"."+key)...)
		case bool:
			if !sub {
				add("key %q does not belong here", key)
			}
		}
	}
	return bad
}

// plain turns a node into what a JSON decoder would give.
func plain(n *node) any {
	switch n.kind {
	case mappingKind:
		m := map[string]any{}
		for i, k := range n.keys {
			m[k.text] = plain(n.items[i])
		}
		return m
	case listKind:
		l := []any{}
		for _, item := range n.items {
			l = append(l, plain(item))
		}
		return l
	case nullKind:
		return nil
	}
	if f, err := strconv.ParseFloat(n.text, 64); err == nil && !n.quoted {
		return f
	}
	if n.text == "true" || n.text == "false" {
		return n.text == "true"
	}
	return n.text
}

func schemaErrors(t *testing.T, data []byte) []string {
	t.Helper()
	raw, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	root, yerr := parseYAML(data)
	if yerr != nil {
		t.Fatal(yerr)
	}
	return validate(schema, plain(root), "")
}

func TestSchemaAcceptsTheShippedFiles(t *testing.T) {
	for _, name := range shipped {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range schemaErrors(t, data) {
			t.Errorf("%s: %s", name, bad)
		}
		if first, _, _ := strings.Cut(string(data), "\n"); first != "# yaml-language-server: $schema=schema.json" {
			t.Errorf("%s: first line is %q, editors do not find the schema", name, first)
		}
	}
}

func TestSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	for _, tc := range []struct{ old, new string }{
		{"name: web", "nam: web"},
		{"backend: api", "{}"},
		{"max_open: 64", "max_open: 0"},
		{"max_open: 64", "max_open: 64s"},
		{"max_open: 64", "idle_timeout: 50"},
		{"protocol: http", "protocol: gopher"},
		{"backend: api", "backend: api\n    routes: [{path: /, backend: api}]"},
		{"endpoints: [127.0.0.1:9001]", "endpoints: []"},
		{"endpoints: [127.0.0.1:9001]", "endpoints: 127.0.0.1:9001"},
		{"max_clients: 2000", "max_header: 1KiB"},
		{"timeouts: {idle: 1h}", "timeouts: {header: 1s}"},
		{"timeouts: {idle: 1h}", "tls: {cert: a}"},
		{"backend: mariadb", "routes: [{backend: mariadb}]"},
		{"password_env: APP_PASSWORD", "password_env: 1ST"},
		{"password_env: APP_PASSWORD", "max_open: 1"},
		{"password_env: APP_PASSWORD", "password_env: APP_PASSWORD\n        no_password: true"},
		{"password_env: APP_PASSWORD", "native_hash: 94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"},
		{"protocol: http", "protocol: http\n    max_logins: 1"},
		{"reset: always", "reset: never"},
	} {
		file := "minimal.yaml"
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), tc.old) {
			file = "mysql.yaml"
			if data, err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
		was := string(data)
		text := strings.Replace(was, tc.old, tc.new, 1)
		text = strings.Replace(text, "    {}\n", "", 1)
		if text == was {
			t.Fatalf("%s has no %q", file, tc.old)
		}
		data = []byte(text)
		if len(schemaErrors(t, data)) == 0 {
			t.Errorf("the schema takes %q", tc.new)
		}
		if _, _, err := Parse("weir.yaml", data); err == nil {
			t.Errorf("the loader takes %q", tc.new)
		}
	}
}
