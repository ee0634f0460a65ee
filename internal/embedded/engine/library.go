package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// LibraryEnv names the environment variable with the path of libchdb.so.
const LibraryEnv = "COUNTERSIGN_ENGINE_LIB"

// FindLibrary returns the path of libchdb.so: explicit when it is not empty,
// else that of LibraryEnv, else the one that `make assets` installs, searched
// in .cache/assets of the working directory and of the executable's and in
// those above each.
func FindLibrary(explicit string) (string, error) {
	for _, given := range []struct{ from, path string }{{"library", explicit}, {LibraryEnv, os.Getenv(LibraryEnv)}} {
		if given.path == "" {
			continue
		}
		path, err := filepath.Abs(given.path)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			return "", fmt.Errorf("finding the ClickHouse engine named by %s: %w", given.from, err)
		}
		return path, nil
	}
	if !supported {
		return "", ErrUnsupported
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			path := filepath.Join(dir, installedLibrary())
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", fmt.Errorf("the ClickHouse engine (libchdb.so) is not installed: run `make assets`, or set %s to its path", LibraryEnv)
}

func installedLibrary() string {
	cpu := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	return filepath.Join(".cache", "assets", "node_modules", "@chdb", "lib-linux-"+cpu+"-gnu", "libchdb.so")
}
