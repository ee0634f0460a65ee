package api

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
)

//go:embed page
var pageFiles embed.FS

// file is one file of the page.
type file struct {
	contentType string
	body        []byte
}

// contentTypes are ours, because what the system knows of them differs.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

func loadPages() map[string]file {
	entries, err := fs.ReadDir(pageFiles, "page")
	if err != nil {
		panic(fmt.Sprintf("api: no page is embedded: %v", err))
	}
	pages := map[string]file{}
	for _, e := range entries {
		b, err := pageFiles.ReadFile("page/" + e.Name())
		if err != nil {
			panic(fmt.Sprintf("api: reading %s: %v", e.Name(), err))
		}
		pages[e.Name()] = file{contentTypes[path.Ext(e.Name())], b}
	}
	return pages
}

func (a *API) servePage(w http.ResponseWriter, name string, status int) {
	f := a.pages[name]
	w.Header().Set("Content-Type", f.contentType)
	w.WriteHeader(status)
	_, _ = w.Write(f.body) // the reader has gone
}
