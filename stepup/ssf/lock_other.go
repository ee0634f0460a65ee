//go:build !unix

package stepupssf

import (
	"io"
	"os"
)

// lockFile makes the file at path. Here it keeps nobody else away.
func lockFile(path string) (io.Closer, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
}
