// Package web holds the dashboard. `make web` builds it from src/ into dist/, and whatever is there when a program is
// compiled becomes a part of it. A clean clone compiles too: then there is no dashboard, and the api says how to get one.
package web

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// FS holds index.html and what it loads: files that never change below assets/, each also compressed beside itself as
// .br and .gz where that is smaller. Without a build it holds a placeholder only.
var FS = built()

func built() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(fmt.Sprintf("web: %v", err)) // the name above is wrong
	}
	return files
}
