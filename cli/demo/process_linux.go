package demo

import "syscall"

// childAttributes: a child does not outlive a demo that was killed, and Ctrl-C reaches the demo alone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
