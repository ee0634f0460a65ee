package main

import "syscall"

// processAttributes keeps Ctrl-C from reaching Kafka before the command is done, and lets Kafka end when we are killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
