//go:build unix

package stepupssf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lockFile takes hold of the file at path, for as long as the process lives or until the closer is closed.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another receiver: %w", path, err), f.Close())
	}
	return f, nil
}
