// Package xconnect makes the HTTP/2 servers of a process offer extended CONNECT (RFC 8441), by which WebSockets come over
// HTTP/2. Import it for that effect alone; it exports nothing.
//
// net/http offers it only if GODEBUG holds http2xconnect=1 when net/http is initialised (go.dev/issue/71128), and there is no
// other switch: a line //go:debug does not reach a setting that is read from the environment. So a variable of this package
// writes it there, which is the one exception to "no init" of the house. It comes in time because the Go specification
// (Package initialization) initialises, of the packages whose imports are done, the one whose path sorts first: this one
// needs os and strings alone, and net/http waits for packages below vendor/golang.org, which sort behind it. A test in
// package gateway reads the SETTINGS frame, and fails when that stops being so.
//
// What GODEBUG held before is kept, and who has written http2xconnect there, be it 0, has decided.
package xconnect

import (
	"os"
	"strings"
)

// setting is what net/http looks for.
const setting = "http2xconnect"

var _ = os.Setenv("GODEBUG", with(os.Getenv("GODEBUG"))) // an error leaves the server as it was, without extended CONNECT

// with adds the setting to those of GODEBUG, unless it is there.
func with(godebug string) string {
	for one := range strings.SplitSeq(godebug, ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(one), "="); name == setting {
			return godebug
		}
	}
	if godebug == "" {
		return setting + "=1"
	}
	return godebug + "," + setting + "=1"
}
