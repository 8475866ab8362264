package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// Serve is the operator's side of a gateway: metrics, health and, only when asked, profiles. An empty address is off.
// The zero value serves nothing.
type Serve struct {
	// Metrics address: /metrics. MetricsHandler is required with it.
	Metrics        string
	MetricsHandler http.Handler
	// Health address: /healthz answers 200 while the process lives, /readyz while Ready returns nil; the error is the
	// body of a 503. Ready must not name secrets.
	Health string
	Ready  func() error
	// Pprof address; it must be a loopback one.
	Pprof string
	Log   *slog.Logger
}

// Run listens on all addresses and serves until ctx is done. An address that is taken is an error at once.
func (s Serve) Run(ctx context.Context) error {
	type server struct {
		name, address string
		handler       http.Handler
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, sv := range []server{
		{"metrics", s.Metrics, mux("GET /metrics", s.MetricsHandler)},
		{"health", s.Health, s.health()},
		{"pprof", s.Pprof, profiles()},
	} {
		if sv.address == "" {
			continue
		}
		if err := loopbackOnly(sv.name, sv.address); err != nil {
			return err
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", sv.address)
		if err != nil {
			return fmt.Errorf("listen for %s on %s: %w; set observe.%s to a free address", sv.name, sv.address, err, sv.name)
		}
		s.Log.Info("listening", "for", sv.name, "address", l.Addr().String())
		srv := &http.Server{Handler: sv.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
		group.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", sv.name, err)
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			return srv.Close()
		})
	}
	group.Go(func() error { <-ctx.Done(); return nil })
	return group.Wait()
}

func (s Serve) health() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // a prober that went away is no error of ours
	})
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.Ready != nil {
			if err := s.Ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	return m
}

// profiles serves pprof without the package's own registration on the default mux; command lines are left out.
func profiles() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/debug/pprof/", pprof.Index)
	m.HandleFunc("/debug/pprof/profile", pprof.Profile)
	m.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	m.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return m
}

func mux(pattern string, h http.Handler) http.Handler {
	m := http.NewServeMux()
	if h != nil {
		m.Handle(pattern, h)
	}
	return m
}

// loopbackOnly refuses to show profiles to the network (TH-E5).
func loopbackOnly(name, address string) error {
	if name != "pprof" {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("observe.pprof %q is not a loopback address; write e.g. 127.0.0.1:6060", address)
	}
	return nil
}

// NewLogger makes the JSON logger of a process. An unknown level is info.
func NewLogger(w io.Writer, level, gateway string) *slog.Logger {
	var l slog.Level
	if l.UnmarshalText([]byte(level)) != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})).With("gateway", gateway)
}

// OpenAccessLog makes the access log that a configuration asks for: "stdout" (stdout may be nil: off), "off", or a file
// that is appended to. Off is a nil AccessLog. The closer is nil unless there is a file.
func OpenAccessLog(where string, stdout io.Writer, m *Metrics) (*AccessLog, io.Closer, error) {
	switch {
	case where == "off", where == "stdout" && stdout == nil:
		return nil, nil, nil // a nil AccessLog logs nothing, and formats nothing
	case where == "stdout":
		return NewAccessLog(stdout, 0, m), nil, nil
	}
	f, err := os.OpenFile(where, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("open access log: %w; set observe.accessLog to stdout, off or a file", err)
	}
	return NewAccessLog(f, 0, m), f, nil
}
