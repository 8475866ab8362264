//go:build interop

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock.dev/penstock/internal/testkit/smuggling"
)

// maker is an origin of another maker, which counts the requests that it sees.
type maker struct {
	name  string
	start func(t *testing.T, port int) (count func() int)
}

// freePort is one that nobody has just now; who takes it in between makes the test fail at once.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// serve runs a program in the foreground until the test ends.
func serve(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	out := &journal{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", name, out.tail(20))
		}
	})
}

// lines counts the lines of an access log.
func lines(file string) func() int {
	return func() int {
		data, _ := os.ReadFile(file) // before the first request there is none
		return strings.Count(string(data), "\n")
	}
}

func config(t *testing.T, text string) (file, folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil { // workers run as somebody else
		t.Fatal(err)
	}
	file = filepath.Join(folder, "server.conf")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "FOLDER", folder)), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, folder
}

// counting is an origin of Go's net/http, which reads every request to its end.
func counting(t *testing.T, port int) func() int {
	t.Helper()
	var n atomic.Int64
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		n.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(rw, "ok")
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return func() int { return int(n.Load()) }
}

var makers = []maker{
	{"Go", counting},
	{"nginx", func(t *testing.T, port int) func() int {
		file, folder := config(t, fmt.Sprintf(`
daemon off; worker_processes 1; pid FOLDER/pid; error_log stderr; user root;
events {}
http {
  access_log FOLDER/access.log;
  client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p; fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
  server { listen 127.0.0.1:%d; location / { return 200 ok; } }
}`, port))
		serve(t, "nginx", "-c", file, "-p", folder)
		return lines(filepath.Join(folder, "access.log"))
	}},
	{"Apache", func(t *testing.T, port int) func() int {
		file, folder := config(t, fmt.Sprintf(`
ServerRoot FOLDER
ServerName localhost
Listen 127.0.0.1:%d
PidFile FOLDER/pid
User www-data
Group www-data
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
CustomLog FOLDER/access.log "%%r"
RedirectMatch 404 .*
`, port))
		serve(t, "apache2", "-f", file, "-D", "FOREGROUND")
		return lines(filepath.Join(folder, "access.log"))
	}},
	{"HAProxy", func(t *testing.T, port int) func() int {
		behind := freePort(t)
		count := counting(t, behind)
		file, _ := config(t, fmt.Sprintf(`
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend in
  bind 127.0.0.1:%d
  default_backend out
backend out
  server go 127.0.0.1:%d
`, port, behind))
		serve(t, "haproxy", "-db", "-f", file)
		return count
	}},
}

var attempts = regexp.MustCompile(`(?m)^penstock_attempts_sum\{.*\} (\d+)$`)

// TestInteropSmuggling: the corpus, each payload twice, through the whole chain to origins of four makers. As many requests
// arrive there as the hub has sent, and no more than the client's bytes hold (T-D3).
func TestInteropSmuggling(t *testing.T) {
	for _, m := range makers {
		t.Run(m.name, func(t *testing.T) {
			port := freePort(t)
			count := m.start(t, port)
			eventually(t, m.name+" listens", func() error {
				c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err == nil {
					_ = c.Close()
				}
				return err
			})
			w := newWorld(t)
			h, s, address := openDoorOf(t, w, "origin.example.com", port, "protocol: HTTP11", "{mode: None}")
			sent := func() (n int) {
				_, metrics := w.fetch(t, h.metrics)
				for _, m := range attempts.FindAllStringSubmatch(metrics, -1) {
					one, err := strconv.Atoi(m[1])
					if err != nil {
						t.Fatal(err)
					}
					n += one
				}
				return n
			}
			agree := func() error {
				if hub, origin := sent(), count(); hub != origin {
					return fmt.Errorf("the hub has sent %d requests, %s has seen %d", hub, m.name, origin)
				}
				return nil
			}
			eventually(t, "both have counted what came before", agree)
			good, most, total := 0, 0, 0
			before := count()
			for range 2 {
				for _, p := range smuggling.Corpus() {
					speak(t, address, p.Raw)
					total++
					good += p.Requests
					if most += p.Requests; !p.Good {
						most++ // whose content alone is in doubt begins, and breaks off
					}
				}
			}
			// One more, to know that what came before is counted.
			if status, body := w.fetch(t, s.url+"/last"); status == 0 {
				t.Fatal(body)
			}
			eventually(t, "hub and origin agree", agree)
			got := count() - before - 1
			if got < good || got > most {
				t.Errorf("%d requests at %s, want %d to %d", got, m.name, good, most)
			}
			t.Logf("%d payloads: %d requests at %s, as many as the hub has sent; %d were good", total, got, m.name, good)
		})
	}
}

// speak sends bytes on a connection of their own and reads what comes until it ends, or says no more: a client that ends its
// direction is taken for one that is gone.
func speak(t *testing.T, address, raw string) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, raw) // it may be refused before its end
	for buf := make([]byte, 4<<10); ; {
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}
