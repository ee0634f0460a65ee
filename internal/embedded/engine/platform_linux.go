//go:build linux && (amd64 || arm64)

package engine

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

const supported = true

func selfExecutable() string { return "/proc/self/exe" }

func setNonblock(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching the listener: %w", err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.SetNonblock(int(fd), true) }); err != nil {
		return fmt.Errorf("reaching the listener: %w", err)
	}
	return failed
}

// residentBytes is the resident memory of a process, 0 when it is gone.
func residentBytes(pid int) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var size, resident uint64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * uint64(os.Getpagesize())
}
