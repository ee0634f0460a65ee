//go:build !linux

package main

import "syscall"

// processAttributes has nothing to add where the kernel does not tie a child's life to its parent's.
func processAttributes() *syscall.SysProcAttr { return nil }
