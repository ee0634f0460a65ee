package api

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// staticFiles are the pages that must be there whether or not the dashboard is: they are about coming in.
//
//go:embed static
var staticFiles embed.FS

// contentTypes are ours, because what the system knows of them differs.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// The codings that the build leaves beside a file, in the order of our liking, with their suffixes.
var codings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// hashedAssets is where the build puts files with their hash in their name: what a name holds never changes.
const hashedAssets = "assets/"

// asset is one file of the dashboard in all its codings.
type asset struct {
	contentType string
	caching     string
	hash        string
	bodies      map[string][]byte // by coding, "" for the plain one
}

// site is the dashboard: files by their path, without a leading slash.
type site map[string]*asset

// loadSite reads a build of the dashboard. It may be empty.
func loadSite(files fs.FS) (site, error) {
	s := site{}
	if files == nil {
		return s, nil
	}
	compressed := map[string][]byte{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if ext := path.Ext(name); ext == ".br" || ext == ".gz" {
			compressed[name] = body
			return nil
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			return nil // a placeholder
		}
		sum := sha256.Sum256(body)
		a := &asset{contentType: contentType, caching: "no-cache", hash: hex.EncodeToString(sum[:12]), bodies: map[string][]byte{"": body}}
		if strings.HasPrefix(name, hashedAssets) {
			a.caching = "public, max-age=31536000, immutable"
		}
		s[name] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the dashboard: %w", err)
	}
	for name, a := range s {
		for _, c := range codings {
			if body, ok := compressed[name+c.suffix]; ok {
				a.bodies[c.name] = body
			}
		}
	}
	return s, nil
}

// page answers what is no API: files of the dashboard, and its index for every address that a person may have opened,
// because what is shown there is decided in the browser.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if f, ok := a.site[name]; ok && reads {
		f.serve(w, r)
		return
	}
	isPage := reads && (name == "" || !strings.HasPrefix(name, hashedAssets) && accepts(r.Header.Values("Accept"), "text/html"))
	index, built := a.site["index.html"]
	switch {
	case !isPage:
		problem(w, http.StatusNotFound, "There is nothing here.")
	case !built:
		a.servePage(w, "unbuilt.html", http.StatusServiceUnavailable)
	default:
		index.serve(w, r)
	}
}

// serve answers with the file in the best coding that the reader takes, or with nothing when it has it.
func (f *asset) serve(w http.ResponseWriter, r *http.Request) {
	coding := ""
	for _, c := range codings {
		if _, ok := f.bodies[c.name]; ok && accepts(r.Header.Values("Accept-Encoding"), c.name) {
			coding = c.name
			break
		}
	}
	body := f.bodies[coding]
	h := w.Header()
	h.Set("Cache-Control", f.caching)
	h.Set("Vary", "Accept-Encoding")
	// Each coding is a representation of its own (RFC 9110, section 8.8.3).
	etag := `"` + f.hash + coding + `"`
	h.Set("ETag", etag)
	if matches(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if coding != "" {
		h.Set("Content-Encoding", coding)
	}
	w.WriteHeader(http.StatusOK)
	_, _ = bytes.NewReader(body).WriteTo(w) // the reader has gone
}

// accepts reports whether a header of alternatives with weights (RFC 9110, section 12.4) names one and does not refuse it.
// Wildcards do not count: who sends only those is no browser that opens a page, and takes a plain file.
func accepts(header []string, want string) bool {
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			name, parameters, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(name), want) {
				continue
			}
			for p := range strings.SplitSeq(parameters, ";") {
				key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
				if weight, err := strconv.ParseFloat(value, 64); strings.EqualFold(key, "q") && (err != nil || weight == 0) {
					return false
				}
			}
			return true
		}
	}
	return false
}

// matches reports whether If-None-Match names the tag; weak and strong are the same here (RFC 9110, section 13.1.2).
func matches(header []string, etag string) bool {
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			if tag := strings.TrimPrefix(strings.TrimSpace(part), "W/"); tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// servePage answers with one of our own pages.
func (a *API) servePage(w http.ResponseWriter, name string, status int) {
	body, err := staticFiles.ReadFile("static/" + name)
	if err != nil {
		panic(fmt.Sprintf("api: no page %s is embedded: %v", name, err))
	}
	w.Header().Set("Content-Type", contentTypes[path.Ext(name)])
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
