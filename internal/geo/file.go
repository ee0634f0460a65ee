package geo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// kind is what a file is loaded as.
type kind int

const (
	cityFile kind = iota
	asnFile
	listFile
)

// file is one loaded file; city, asn or entries is set, as its kind says.
type file struct {
	path string
	kind kind
	// size and modified tell whether the file has changed since.
	size     int64
	modified time.Time
	built    time.Time

	city    *city
	asn     asnSource
	entries *entries
}

// name is what the file is called in evidence and metrics: its base name without extension.
func (f *file) name() string {
	base := filepath.Base(f.path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// openFile loads path, or returns before when the file has not changed since.
func openFile(path string, kind kind, before *file) (*file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("loading geo data: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("loading geo data: %s is not a file", path)
	}
	if before != nil && before.size == info.Size() && before.modified.Equal(info.ModTime()) {
		return before, nil
	}
	f := &file{path: path, kind: kind, size: info.Size(), modified: info.ModTime(), built: info.ModTime()}
	if made, ok := packageDate(path); ok {
		f.built = made
	}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	return f, nil
}

func (f *file) open() error {
	switch f.kind {
	case cityFile:
		return openCity(f)
	case asnFile:
		return openASN(f)
	case listFile:
		return openEntries(f)
	}
	panic("geo: unknown kind of file")
}

// stampedVersion finds the day in the versions of the ip-location-db packages, such as 2.3.2026061719.
var stampedVersion = regexp.MustCompile(`^\d+\.\d+\.(20\d{6})\d{0,2}$`)

// packageDate is the day an npm package beside path was made. Unpacking gives its files the time of the installation,
// which says nothing about their age.
func packageDate(path string) (time.Time, bool) {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), "package.json"))
	if err != nil {
		return time.Time{}, false
	}
	var manifest struct {
		Version string `json:"version"`
	}
	if json.Unmarshal(raw, &manifest) != nil {
		return time.Time{}, false
	}
	match := stampedVersion.FindStringSubmatch(manifest.Version)
	if match == nil {
		return time.Time{}, false
	}
	made, err := time.Parse("20060102", match[1])
	return made, err == nil
}
