package configs

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written with its unit: 32KiB.
type Size int64

// Rate is a number of events in a unit of time, written 256/s, 30/m or 5/h.
type Rate struct {
	Count int64
	Per   time.Duration // a second, a minute or an hour
}

// Percent is a share of a hundred, written 10%.
type Percent float64

const (
	kibibyte Size = 1 << 10
	mebibyte Size = 1 << 20
	gibibyte Size = 1 << 30
)

var sizeUnits = []struct {
	name  string
	bytes Size
}{{"GiB", gibibyte}, {"MiB", mebibyte}, {"KiB", kibibyte}, {"B", 1}}

var rateUnits = []struct {
	name string
	per  time.Duration
}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}}

// String writes s with the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s%u.bytes == 0 && s != 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func (r Rate) String() string {
	for _, u := range rateUnits {
		if r.Per == u.per {
			return strconv.FormatInt(r.Count, 10) + "/" + u.name
		}
	}
	return fmt.Sprintf("%d per %s", r.Count, r.Per)
}

// PerSecond is the rate in events per second. The zero Rate gives 0.
func (r Rate) PerSecond() float64 {
	if r.Per <= 0 {
		return 0
	}
	return float64(r.Count) / r.Per.Seconds()
}

func (p Percent) String() string {
	return strconv.FormatFloat(float64(p), 'f', -1, 64) + "%"
}

// Fraction is the share of one: 0.1 for 10%.
func (p Percent) Fraction() float64 { return float64(p) / 100 }

// FormatDuration writes d as the file does: 90m becomes 1h30m, not 1h30m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func parseSize(s string) (Size, error) {
	digits, unit := splitDigits(s)
	n, err := parseDigits(digits)
	if err != nil {
		return 0, sizeHint(s, digits, unit)
	}
	for _, u := range sizeUnits {
		if unit != u.name {
			continue
		}
		if n > int64((1<<63-1)/u.bytes) {
			return 0, fmt.Errorf("%s is more than a size can hold", clip(s))
		}
		return Size(n) * u.bytes, nil
	}
	return 0, sizeHint(s, digits, unit)
}

func sizeHint(s, digits, unit string) error {
	switch first := strings.ToUpper(unit); {
	case digits == "" || strings.HasPrefix(unit, ".") || len(digits) > 18:
		return fmt.Errorf("%q is not a size; write whole numbers such as 512B, 32KiB or 10MiB", clip(s))
	case unit == "":
		return fmt.Errorf("%s needs a unit: %sB, %sKiB, %sMiB or %sGiB", clip(s), digits, digits, digits, digits)
	case first == "K" || first == "KB" || first == "KIB" || first == "M" || first == "MB" || first == "MIB" ||
		first == "G" || first == "GB" || first == "GIB":
		return fmt.Errorf("%q has a unit that is not taken; write %s%siB, which counts by 1024", clip(s), digits, first[:1])
	default:
		return fmt.Errorf("%q has a unit that is not known; write %sB, %sKiB, %sMiB or %sGiB", clip(s), digits, digits, digits, digits)
	}
}

func parseRate(s string) (Rate, error) {
	count, unit, found := strings.Cut(s, "/")
	n, err := parseDigits(count)
	if digits, rest := splitDigits(count); err != nil && rest == "" && len(digits) > 18 && digits[0] != '0' {
		return Rate{}, fmt.Errorf("%s is %w", clip(s), errTooLarge)
	}
	if err != nil {
		text := fmt.Sprintf("%q is not a rate; write a whole number per second, minute or hour: ", clip(s))
		return Rate{}, &rateHint{text, []Rate{{100, time.Second}, {30, time.Minute}, {5, time.Hour}}}
	}
	if n == 0 {
		return Rate{}, fmt.Errorf("%s %w", clip(s), errLetsNothing)
	}
	var all []Rate
	for _, u := range rateUnits {
		all = append(all, Rate{n, u.per})
	}
	if !found {
		return Rate{}, &rateHint{count + " needs a unit: ", all}
	}
	for _, u := range rateUnits {
		if unit != u.name {
			continue
		}
		return Rate{Count: n, Per: u.per}, nil
	}
	return Rate{}, &rateHint{fmt.Sprintf("%q has a unit that is not known; write ", clip(s)), all}
}

// rateHint is of a text that is no rate, and may be meant as one of those.
type rateHint struct {
	text string
	mean []Rate
}

func (h *rateHint) Error() string {
	var words []string
	for _, r := range h.mean {
		words = append(words, r.String())
	}
	return h.text + orList(words)
}

// within is h with those rates alone that f takes, or with all if it takes none.
func (h *rateHint) within(f field) *rateHint {
	var taken []Rate
	for _, r := range h.mean {
		if checkRange(reflect.ValueOf(r), "", f) == nil {
			taken = append(taken, r)
		}
	}
	if taken == nil {
		return h
	}
	return &rateHint{h.text, taken}
}

// orList is "a", "a or b", "a, b or c".
func orList(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// errLetsNothing is of a rate of 0. What to do instead, the key knows.
var errLetsNothing = errors.New("lets nothing through")

func parsePercent(s string) (Percent, error) {
	number, found := strings.CutSuffix(s, "%")
	whole, part, dot := strings.Cut(number, ".")
	_, err := parseDigits(whole)
	if err == nil && dot {
		_, err = parseDigits("1" + part)
		if part == "" || len(part) > 2 {
			err = errNotDigits
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a share; write a number of percent with at most two decimals, such as 10%%", clip(s))
	}
	if !found {
		return 0, fmt.Errorf("%s needs a unit: %s%%", s, s)
	}
	f, err := strconv.ParseFloat(number, 64)
	return Percent(f), err
}

// parseDuration reads whole milliseconds up to the range of the key. It takes
// no unit below ms: such a value is nearly always a number whose unit was lost.
func parseDuration(s string) (time.Duration, error) {
	if _, err := parseDigits(s); err == nil {
		return 0, fmt.Errorf("%s needs a unit: %sms, %ss, %sm or %sh", s, s, s, s, s)
	}
	for rest := s; rest != ""; {
		var number, unit string
		number, rest = cutAny(rest, "0123456789.")
		unit, rest = cutAny(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\u00b5\u03bc")
		switch unit {
		case "ms", "s", "m", "h":
			if number == "" {
				return 0, durationError(s)
			}
		case "d":
			return 0, fmt.Errorf("%q: days are not a unit here; write hours, 24h for one day", clip(s))
		case "ns", "us", "\u00b5s", "\u03bcs":
			return 0, fmt.Errorf("%q is finer than 1ms, the least there is", clip(s))
		default:
			return 0, durationError(s)
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, durationError(s)
	}
	if d%time.Millisecond != 0 {
		return 0, fmt.Errorf("%q is finer than 1ms; write whole milliseconds", clip(s))
	}
	return d, nil
}

func durationError(s string) error {
	return fmt.Errorf("%q is not a duration; write a number and ms, s, m or h, such as 500ms, 30s or 1h30m", clip(s))
}

var errNotDigits = errors.New("not a whole number")

// parseDigits reads a whole number written in digits alone, without a sign or
// leading zeros, as YAML 1.1 would take 010 for eight.
func parseDigits(s string) (int64, error) {
	if s == "" || len(s) > 18 || len(s) > 1 && s[0] == '0' {
		return 0, errNotDigits
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, errNotDigits
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

func splitDigits(s string) (digits, rest string) { return cutAny(s, "0123456789") }

// cutAny splits s after its leading characters of the set chars.
func cutAny(s, chars string) (head, rest string) {
	rest = strings.TrimLeft(s, chars)
	return s[:len(s)-len(rest)], rest
}

// clip keeps a value that is shown in a message to a readable length.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
