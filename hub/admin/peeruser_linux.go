package admin

import (
	"fmt"
	"net"
	"syscall"
)

// peerUser is the user at the other end of a unix socket, as the kernel knows it (SO_PEERCRED, unix(7)).
func peerUser(c net.Conn) string {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return "socket"
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return "socket"
	}
	actor := "socket"
	_ = raw.Control(func(fd uintptr) { // its error means a closed connection, which has no more calls
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			actor = fmt.Sprintf("uid:%d", cred.Uid)
		}
	})
	return actor
}
