//go:build !linux

package demo

import "syscall"

// childAttributes: Ctrl-C reaches the demo alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
