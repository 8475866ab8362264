package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock.dev/penstock/cli"
)

// terminal is a pseudo terminal: what a command believes to be a person's screen and keyboard.
type terminal struct {
	screen *os.File // the test's end
	tty    *os.File // the command's end
}

func openTerminal(t *testing.T) terminal {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return terminal{screen, tty}
}

// readUntil returns what the screen shows up to and including text.
func (x terminal) readUntil(t *testing.T, text string) string {
	t.Helper()
	var seen []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(seen, []byte(text)) {
		if _, err := x.screen.Read(b); err != nil {
			t.Fatalf("the screen shows %q and then %v, want %q", seen, err, text)
		}
		seen = append(seen, b...)
	}
	return string(seen)
}

func (x terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// awaitSilence waits until the echo is off: the prompt is written just before, and nothing tells of the change.
func (x terminal) awaitSilence(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); x.echoes(t); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the echo stays on at the prompt")
		}
	}
}

// localHub serves the fake on a unix socket and returns its path.
func localHub(t *testing.T, hub *fakeHub) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hub")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: hub.handler()}}
	s.Start()
	t.Cleanup(s.Close)
	return l.Addr().String()
}

func TestATerminalIsAskedForTheValueAndDoesNotShowIt(t *testing.T) {
	hub, x := newFakeHub(), openTerminal(t)
	root := cli.New(cli.Options{In: x.tty, Out: x.tty, Err: x.tty})
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(t.Context(), root, []string{"credential", "set", "ai/openai-key", "--socket", localHub(t, hub)})
	}()
	x.readUntil(t, "Value (not shown): ")
	x.awaitSilence(t)
	if _, err := io.WriteString(x.screen, "sk-canary-typed\n"); err != nil {
		t.Fatal(err)
	}
	after := x.readUntil(t, "version 3\r\n")
	if c := <-code; c != 0 || string(hub.lastBody) != "sk-canary-typed" {
		t.Errorf("exit code %d, the hub received %q", c, hub.lastBody)
	}
	if strings.Contains(after, "canary") {
		t.Errorf("the screen shows %q", after)
	}
	if !x.echoes(t) {
		t.Error("the terminal's echo is still off")
	}
}

func TestInterruptedAtThePromptTheEchoComesBack(t *testing.T) {
	hub, x := newFakeHub(), openTerminal(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	root := cli.New(cli.Options{In: x.tty, Out: x.tty, Err: x.tty})
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, root, []string{"credential", "set", "ai/openai-key", "--socket", localHub(t, hub)})
	}()
	x.readUntil(t, "Value (not shown): ")
	x.awaitSilence(t)
	cancel(errors.New("interrupted"))
	x.readUntil(t, "error: read the value: interrupted")
	if c := <-code; c != 1 || len(hub.calls) != 0 || !x.echoes(t) {
		t.Errorf("exit code %d, calls %q, echo %t; want 1, none, on", c, hub.calls, x.echoes(t))
	}
}

func TestColoursAreForTerminalsAndForThoseWhoWantThem(t *testing.T) {
	for _, r := range []struct {
		name    string
		env     [2]string
		args    []string
		colours bool
	}{
		{"a terminal gets colours", [2]string{"TERM", "xterm"}, nil, true},
		{"--no-color takes them away", [2]string{"TERM", "xterm"}, []string{"--no-color"}, false},
		{"NO_COLOR takes them away", [2]string{"NO_COLOR", "1"}, nil, false},
		{"a dumb terminal has none", [2]string{"TERM", "dumb"}, nil, false},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", "")
			t.Setenv(r.env[0], r.env[1])
			x := openTerminal(t)
			root := cli.New(cli.Options{In: x.tty, Out: x.tty, Err: x.tty})
			code := make(chan int, 1)
			go func() {
				code <- cli.Run(t.Context(), root, append([]string{"cluster", "list", "--socket", localHub(t, newFakeHub())}, r.args...))
			}()
			screen := x.readUntil(t, "10m\r\n")
			if c := <-code; c != 0 {
				t.Errorf("exit code %d", c)
			}
			if got := strings.Contains(screen, "\x1b[32mReady\x1b[0m"); got != r.colours || strings.Contains(screen, "\x1b") != r.colours {
				t.Errorf("coloured: %t, want %t: %q", got, r.colours, screen)
			}
			// Colours must not move columns.
			lines := strings.Split(stripColours(screen), "\r\n")
			if at := strings.Index(lines[0], "INSTANCES"); at < 0 || !strings.HasPrefix(lines[1][at:], "1") || !strings.HasPrefix(lines[2][at:], "0") {
				t.Errorf("columns are not aligned:\n%s", strings.Join(lines, "\n"))
			}
		})
	}
}

func stripColours(s string) string {
	for {
		i := strings.IndexByte(s, '\x1b')
		if i < 0 {
			return s
		}
		j := strings.IndexByte(s[i:], 'm')
		s = s[:i] + s[i+j+1:]
	}
}
