//go:build !unix

package broker

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// lockDir refuses: without a lock that dies with its process two brokers could write one log.
func lockDir(string) (*os.File, error) {
	return nil, fmt.Errorf("starting the embedded broker on %s: %w; use Linux or macOS, or point countersign at a Kafka",
		runtime.GOOS, errors.ErrUnsupported)
}
