package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
)

// forms are the looks a text or an address may have to have, by the name in
// the form tag of its field.
var forms = map[string]func(string) error{
	"name":   nameForm,
	"token":  tokenForm,
	"host":   hostForm,
	"path":   pathForm,
	"header": headerForm,
	"field":  fieldForm,
	"listen": listenForm,
	"page":   pageForm,
	"dial":   dialForm,
	"source": sourceForm,
	"socket": socketForm,

	"per": perForm,

	"logfile": logFileForm,
	"file":    fileForm,

	"mediatype": mediaTypeForm,

	"username":   usernameForm,
	"variable":   variableForm,
	"password":   passwordForm,
	"nativehash": nativeHashForm,
	"version":    versionForm,
	"database":   databaseForm,
	"servername": serverNameForm,
}

const maxName = 63

func nameForm(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty")
	case len(s) > maxName:
		return fmt.Errorf("has %d characters; a name holds %d", len(s), maxName)
	case !onlyBytes(s, isNameByte):
		return fmt.Errorf("%q must hold only a-z, 0-9, _ and -", clip(s))
	}
	return nil
}

func tokenForm(s string) error {
	if s == "" || len(s) > 255 || !onlyBytes(s, isTokenByte) {
		return fmt.Errorf("%q must be 1 to 255 letters, digits or %s (a token of RFC 9110)", clip(s), tokenMarks)
	}
	return nil
}

// perForm takes what a limit can count by.
func perForm(s string) error {
	switch field, isHeader := strings.CutPrefix(s, perHeader); {
	case s == "client" || s == "user":
		return nil
	case !isHeader:
		return fmt.Errorf("%q must be client, user (mysql) or header:NAME, such as header:X-Api-Key%s", clip(s), perMeant(s))
	default:
		if err := tokenForm(field); err != nil {
			return fmt.Errorf("of header:NAME the NAME %w, such as header:X-Api-Key%s", err, perMeant(s))
		}
		return nil
	}
}

// perMeant is the end of a message: what a value of per that is none most likely
// meant, "" if nothing.
func perMeant(s string) string {
	head, field, isField := strings.Cut(s, ":")
	field = strings.TrimSpace(field)
	meant := ""
	switch {
	case !isField:
		meant = suggest(s, []string{"client", "user"})
	case suggest(head, []string{"header"}) != "" && tokenForm(field) == nil:
		meant = perHeader + field
	}
	if meant == "" {
		return ""
	}
	return "; did you mean " + meant + "?"
}

// hostForm takes what a Host header can be compared with: a name, an IP
// address (IPv6 in brackets), or a name whose first label is a star.
func hostForm(s string) error {
	name := strings.TrimPrefix(s, "*.")
	switch {
	case s == "" || s == "*":
		return errors.New("must not be empty or *; leave the key out for every host")
	case strings.HasPrefix(s, "["):
		ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil || ip.Is4() || ip.Zone() != "" {
			return fmt.Errorf("%q is not an IPv6 address in brackets", clip(s))
		}
		if short := "[" + ip.String() + "]"; s != short {
			return fmt.Errorf("%q: hosts are compared as text; write %s", clip(s), short)
		}
		return nil
	case strings.Contains(name, "*"):
		return fmt.Errorf("%q: a star stands for the whole first label only, as in \"*.shop.test\"", clip(s))
	case strings.Contains(s, ":"):
		return fmt.Errorf("%q: a host is compared without its port; leave the port out, and write IPv6 in brackets", clip(s))
	case strings.HasSuffix(s, "."):
		return fmt.Errorf("%q: leave the dot at the end out, hosts are compared without it", clip(s))
	case !onlyBytes(s, func(c byte) bool { return c < 0x80 }):
		return fmt.Errorf("%q: write the name in its ASCII form, xn--", clip(s))
	}
	if ip, ok := Address(name + ":80").ip(); ok && ip.Is4() && name == s {
		return nil
	}
	return checkName(name)
}

// pathForm takes a beginning of a request's path as the path is sent, so that
// comparing bytes is comparing paths.
func pathForm(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return fmt.Errorf("%q must begin with /", clip(s))
	case len(s) > 1024:
		return fmt.Errorf("has %d bytes; a route's path holds 1024", len(s))
	case strings.ContainsAny(s, "?#"):
		return fmt.Errorf("%q must not hold ? or #: routes see the path alone", clip(s))
	case strings.ContainsAny(s, "%\\"):
		return fmt.Errorf("%q must not hold %% or \\: a path with escapes has more than one spelling", clip(s))
	case strings.Contains(s, "//"):
		return fmt.Errorf("%q must not hold //", clip(s))
	case !onlyBytes(s, func(c byte) bool { return c > 0x20 && c < 0x7f }):
		return fmt.Errorf("%q must not hold spaces, control characters or bytes beyond ASCII", clip(s))
	}
	for seg := range strings.SplitSeq(s, "/") {
		// Servlet containers cut what follows the semicolon, and see the dots.
		if dots, _, _ := strings.Cut(seg, ";"); dots == "." || dots == ".." {
			return fmt.Errorf("%q must not hold the segment %s", clip(s), seg)
		}
	}
	return nil
}

// ownFields are header fields that the message itself hangs on, so a route may
// neither set nor remove them, and they say nothing of the client: framing, where the request goes, and hop-by-hop
// fields (RFC 9110, section 7.6.1).
var ownFields = map[string]string{
	"connection": "belongs to one connection", "keep-alive": "belongs to one connection",
	"proxy-connection": "belongs to one connection", "te": "belongs to one connection",
	"trailer": "belongs to one connection", "upgrade": "belongs to one connection",
	"transfer-encoding": "frames the body", "content-length": "frames the body",
	"expect": "belongs to one connection", "host": "says where the request goes",
}

func headerForm(s string) error {
	if err := tokenForm(s); err != nil {
		return err
	}
	// CGI and its heirs read - and _ as one, so content_length is Content-Length.
	dashed := strings.ReplaceAll(strings.ToLower(s), "_", "-")
	if why, own := ownFields[dashed]; own {
		return fmt.Errorf("%s %s and cannot be set or removed by a route", s, why)
	}
	if strings.Contains(s, "_") && (strings.HasPrefix(dashed, "x-forwarded-") || dashed == "x-real-ip") {
		return fmt.Errorf("%s: many backends read it as %s; write that, with dashes", s, dashed)
	}
	return nil
}

// fieldForm takes a header field in which others say something to weir.
func fieldForm(s string) error {
	if err := tokenForm(s); err != nil {
		return err
	}
	if why, own := ownFields[strings.ToLower(s)]; own {
		return fmt.Errorf("%s %s and has no room for anything else; write a field of its own, such as X-Priority", s, why)
	}
	return nil
}

// headerValueForm takes a field value by RFC 9110, section 5.5.
func headerValueForm(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty; use remove_header to cut a field")
	case len(s) > 4096:
		return fmt.Errorf("has %d bytes; a value to set holds 4096", len(s))
	case hasControl(strings.ReplaceAll(s, "\t", " ")):
		return errors.New("must not hold control characters: a line break would begin another header field")
	case strings.Trim(s, " \t") != s:
		return errors.New("must not begin or end with a space")
	}
	return nil
}

func listenForm(s string) error { return ipForm(s, ", or [127.0.0.1:%[1]d, \"[::1]:%[1]d\"] for both") }

// pageForm is listenForm for a key that takes no list.
func pageForm(s string) error { return ipForm(s, " or \"[::1]:%d\"") }

// ipForm is an address to listen on; or is what else may be written for localhost.
func ipForm(s, or string) error {
	a, err := ParseAddress(s)
	if err != nil || a.Network() == "unix" {
		return err
	}
	host, port := a.HostPort()
	if _, isIP := a.ip(); host != "" && !isIP {
		if strings.EqualFold(host, "localhost") {
			return fmt.Errorf("%q: a listener needs an IP address; write 127.0.0.1:%d%s", s, port, fmt.Sprintf(or, port))
		}
		return fmt.Errorf("%q: a listener needs an IP address, names may change under it", clip(s))
	}
	return nil
}

func dialForm(s string) error {
	a, err := ParseAddress(s)
	if err != nil || a.Network() == "unix" {
		return err
	}
	host, port := a.HostPort()
	switch {
	case host == "":
		return fmt.Errorf("%q names no host; write 127.0.0.1:%d for this machine", clip(s), port)
	case port == 0:
		return fmt.Errorf("%q: port 0 cannot be dialled", clip(s))
	case a.everywhere():
		return fmt.Errorf("%q stands for every address and is none to dial; write 127.0.0.1:%d for this machine", clip(s), port)
	}
	return nil
}

func socketForm(s string) error {
	a, err := ParseAddress(s)
	if err == nil && a.Network() != "unix" {
		err = fmt.Errorf("%q is not a unix socket; write unix:/run/weir/admin.sock: the file's owner is the login", clip(s))
	}
	return err
}

// What log.access and log.slow_query can say beside the path of a file.
const (
	AccessNone   = "none"
	AccessStderr = "stderr"
	AccessStdout = "stdout"
)

// logFileForm takes a path only if it looks like one: off or a typing error
// would else become a file that nobody looks for.
func logFileForm(s string) error {
	switch {
	case s == AccessNone || s == AccessStderr || s == AccessStdout:
		return nil
	case s == "":
		return errors.New("must not be empty; write none, stderr, stdout, or the path of a file")
	case standardStream(s) != "":
		return fmt.Errorf("%q would open that place a second time, and lines there overwrite each other; write %s", clip(s), standardStream(s))
	}
	if err := fileForm(s); err != nil {
		return err
	}
	if !strings.ContainsAny(s, "/.") {
		return fmt.Errorf("%q is none of: none, stderr, stdout, a path; for a file of that name write ./%s", clip(s), clip(s))
	}
	return nil
}

// fileForm takes the path of a file, absolute or not.
func fileForm(s string) error {
	const most = 4095 // PATH_MAX, without its end
	switch {
	case s == "":
		return errors.New("must not be empty; write the path of a file")
	case len(s) > most:
		return fmt.Errorf("has %d bytes; a path holds %d", len(s), most)
	case hasControl(s):
		return fmt.Errorf("%q must not hold control characters", clip(s))
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("%q is a directory; write the path of a file", clip(s))
	}
	return nil
}

// standardStream is the word for a path of standard output or error, if s is one.
func standardStream(s string) string {
	switch path.Clean(s) {
	case "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1":
		return AccessStdout
	case "/dev/stderr", "/dev/fd/2", "/proc/self/fd/2":
		return AccessStderr
	}
	return ""
}

// tokenMarks are the characters of a token beside letters and digits, RFC
// 9110, section 5.6.2.
const tokenMarks = "!#$%&'*+-.^_`|~"

func isTokenByte(c byte) bool { return isAlnum(c) || strings.IndexByte(tokenMarks, c) >= 0 }
func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
func isHostByte(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }
func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func onlyBytes(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func hasControl(s string) bool {
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return true
		}
	}
	return false
}
