package configs

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// parseScalar reads one value of a leaf type and checks its words, form and
// range. Errors are the text after the path.
func parseScalar(n *node, f field, t reflect.Type) (reflect.Value, error) {
	if n.quoted && (t.Kind() == reflect.Int || t.Kind() == reflect.Bool) {
		return reflect.Value{}, fmt.Errorf("%q is a text; write it without quotes", clip(n.text))
	}
	v, err := parseText(n.text, t)
	if hint, ok := errors.AsType[*rateHint](err); ok {
		return v, hint.within(f)
	}
	switch {
	case errors.Is(err, errLetsNothing):
		return v, fmt.Errorf("%w; leave the key out for %s", err, cmp.Or(f.absent, "its default"))
	case errors.Is(err, errTooLarge) && f.most != "":
		return v, fmt.Errorf("must be at most %s, is %s", f.most, clip(n.text))
	case err != nil:
		return v, err
	}
	if len(f.enum) > 0 {
		if err := checkWord(n.text, f.enum); err != nil {
			return v, err
		}
	}
	if f.form != "" {
		if err := forms[f.form](n.text); err != nil {
			return v, err
		}
	}
	return v, checkRange(v, n.text, f)
}

func parseText(s string, t reflect.Type) (reflect.Value, error) {
	var v any
	var err error
	switch t {
	case durationType:
		v, err = parseDuration(s)
	case sizeType:
		v, err = parseSize(s)
	case rateType:
		v, err = parseRate(s)
	case percentType:
		v, err = parsePercent(s)
	case inFlightType:
		v, err = parseInFlight(s)
	case addressType:
		v, err = ParseAddress(s)
	case prefixType:
		v, err = parsePrefix(s)
	default:
		switch t.Kind() {
		case reflect.Bool:
			v, err = parseBool(s)
		case reflect.Int:
			v, err = parseInt(s)
		default:
			v = s
		}
	}
	return reflect.ValueOf(v).Convert(t), err
}

// parseBool takes true and false alone: what yes and on mean depends on the
// version of YAML.
func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q must be true or false", clip(s))
}

func parseInt(s string) (int, error) {
	n, err := parseDigits(s)
	if digits, ok := strings.CutPrefix(s, "-"); err != nil && ok {
		if _, bad := parseDigits(digits); bad == nil {
			return 0, fmt.Errorf("must not be negative, is %s", clip(s))
		}
	}
	if _, rest := splitDigits(s); rest == "" && len(s) > 18 && s[0] != '0' || n > 1<<31-1 {
		return 0, fmt.Errorf("%s is %w: write at most %d", clip(s), errTooLarge, 1<<31-1)
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number; write digits alone, such as 64", clip(s))
	}
	return int(n), nil
}

// errTooLarge is of a whole number beyond every range.
var errTooLarge = errors.New("too large")

func checkWord(s string, words []string) error {
	for _, w := range words {
		if s == w {
			return nil
		}
	}
	if len(words) == 1 {
		return fmt.Errorf("%q is not in this version; it has %s only", clip(s), words[0])
	}
	text := fmt.Sprintf("%q must be one of: %s", clip(s), strings.Join(words, ", "))
	if w := suggest(s, words); w != "" {
		text += "; did you mean " + w + "?"
	}
	return errors.New(text)
}

// checkRange compares v with the bounds in the field's tag, which are written
// in the units of the value.
func checkRange(v reflect.Value, text string, f field) error {
	if f.least == "" || v.Interface() == InFlightAuto {
		return nil
	}
	least, err := parseText(f.least, v.Type())
	if err != nil {
		panic("BUG: range of " + f.key + ": " + err.Error())
	}
	most, err := parseText(f.most, v.Type())
	if err != nil {
		panic("BUG: range of " + f.key + ": " + err.Error())
	}
	if magnitude(v) < magnitude(least) {
		err = fmt.Errorf("must be at least %s, is %s", f.least, clip(text))
		if f.absent != "" {
			err = fmt.Errorf("%w; leave the key out for %s", err, f.absent)
		}
		return err
	}
	if magnitude(v) > magnitude(most) {
		return fmt.Errorf("must be at most %s, is %s", f.most, clip(text))
	}
	return nil
}

// magnitude orders the values of one leaf type. A float holds whole numbers to
// 2^53, far over every bound.
func magnitude(v reflect.Value) float64 {
	if r, ok := v.Interface().(Rate); ok {
		return r.PerSecond()
	}
	if v.CanFloat() {
		return v.Float()
	}
	return float64(v.Int())
}

// formatScalar writes a leaf value as the file would.
func formatScalar(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x)
	case netip.Prefix:
		if x.IsSingleIP() {
			return x.Addr().String()
		}
		return x.String()
	case fmt.Stringer:
		return x.String()
	case bool:
		return strconv.FormatBool(x)
	case int:
		return strconv.Itoa(x)
	}
	return v.String()
}
