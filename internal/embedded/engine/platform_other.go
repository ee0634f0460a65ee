//go:build !(linux && (amd64 || arm64))

package engine

import (
	"fmt"
	"net"
	"os"
)

const supported = false

// ChildMain is the engine process; here there is none.
func ChildMain() int {
	fmt.Fprintln(os.Stderr, ErrUnsupported)
	return 1
}

func selfExecutable() string { return os.Args[0] }

func setNonblock(*net.TCPListener) error { return ErrUnsupported }

func residentBytes(int) uint64 { return 0 }
