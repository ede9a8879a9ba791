package configs

import (
	"fmt"
	"mime"
	"net/http"
	"path/filepath"
	"strings"
)

// Overload is a page for the clients of a backend that weir turns away because
// there is too much to do. Body gives the page.
type Overload struct {
	// File whose content clients get in place of weir's one line of text, at most 64KiB. It is read at the start and by each reload.
	File string `key:"file" need:"yes" form:"file"`
	// Content-Type of the file.
	ContentType string `key:"content_type" form:"mediatype" absent:"text/html; charset=utf-8"`
	// Status of the answer to GET and HEAD: 503 says what is the case, 200 is for a proxy in front that puts its own page in the place of a 503. Other methods get 503 in any case.
	Status int `key:"status" enum:"503 200" absent:"503"`

	body []byte // what the file held when the configuration was loaded
}

// maxOverload bounds the page. It is sent most when there is the least to send it
// with.
const maxOverload = 64 << 10

// Body is what the file held when the configuration was loaded, nil without a
// file. It must not be changed.
func (o *Overload) Body() []byte { return o.body }

// Type is the page's Content-Type.
func (o *Overload) Type() string {
	if o.ContentType == "" {
		return "text/html; charset=utf-8"
	}
	return o.ContentType
}

// OK says whether GET and HEAD get the page with status 200.
func (o *Overload) OK() bool { return o.Status == http.StatusOK }

// overload reads the page, so that a configuration is applied with what it was
// checked with.
func (ch *checker) overload(o *Overload, path string) {
	if o.File == "" || !ch.good(path+".file") {
		return
	}
	body, err := readRegular(o.File, maxOverload)
	switch {
	case err != nil:
		ch.reject(path+".file", "%q: %s", clip(o.File), err)
	case len(body) == 0:
		ch.reject(path+".file", "%q is empty; write the page into it, or leave overload out for weir's own text", clip(o.File))
	case len(body) > maxOverload:
		ch.reject(path+".file", "%q has more than 64KiB (%d bytes), the most that is sent to clients that are turned away; keep pictures and styles elsewhere", clip(o.File), maxOverload)
	default:
		o.body = body
		if dir := volatileDir(o.File); dir != "" {
			ch.warn(path+".file", "%q is under %s, where files are the kernel's own or are gone with the next start, and clients are sent what it holds; keep the page elsewhere", clip(o.File), dir)
		}
	}
}

// volatileDir returns the directory of the system under which a file is that is no
// page, wherever links lead, or "". What stands in /proc/self/environ is nothing
// for clients.
func volatileDir(file string) string {
	var paths []string
	if abs, err := filepath.Abs(file); err == nil {
		paths = append(paths, abs)
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		paths = append(paths, real)
	}
	for _, p := range paths {
		for _, dir := range []string{"/proc", "/dev", "/sys"} {
			if strings.HasPrefix(p, dir+"/") {
				return dir
			}
		}
	}
	return ""
}

// mediaTypeForm takes a media type with its parameters, by RFC 9110, section 8.3.1.
func mediaTypeForm(s string) error {
	const most = 255
	if len(s) > most {
		return fmt.Errorf("has %d bytes; a media type holds %d here", len(s), most)
	}
	if s != "" && headerValueForm(s) != nil { // as in a quoted parameter
		return headerValueForm(s)
	}
	kind, _, err := mime.ParseMediaType(s)
	main, sub, ok := strings.Cut(kind, "/")
	if err != nil || !ok || tokenForm(main) != nil || tokenForm(sub) != nil {
		return fmt.Errorf("%q is not a media type; write one such as text/html; charset=utf-8", clip(s))
	}
	return nil
}
