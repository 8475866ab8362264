package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Bounds of both listeners. A dry run over a large catalog takes seconds, hence the long answer time.
const (
	readTime     = 30 * time.Second
	answerTime   = 2 * time.Minute
	idleTime     = time.Minute
	shutdownTime = 5 * time.Second
	maxHeader    = 16 << 10
)

// ServeSocket serves on a unix socket of mode 0600 until ctx is done, then finishes what runs, at most 5 s. A socket that
// nobody answers on any more, of a hub that was killed, is replaced; one that is answered on is left alone, an error.
func (s *Server) ServeSocket(ctx context.Context, path string) error {
	l, err := listenSocket(ctx, path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	srv := s.server(s.local)
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return withActor(ctx, Actor{Name: peerUser(c), Role: PlatformAdmin})
	}
	return serve(ctx, srv, func() error { return srv.Serve(l) })
}

// ServeTLS serves on a TCP listener over TLS 1.3 until ctx is done, then finishes what runs, at most 5 s. It closes l.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener) error {
	if s.cfg.Certificate == nil {
		l.Close()
		return errors.New("admin: the TLS listener needs Config.Certificate")
	}
	srv := s.server(s.remote)
	srv.TLSConfig = &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: s.cfg.Certificate,
		// A resumed chain is not checked again (golang/go#77217).
		SessionTicketsDisabled: true,
	}
	if s.cfg.ClientCAs != nil {
		srv.TLSConfig.ClientAuth, srv.TLSConfig.ClientCAs = tls.VerifyClientCertIfGiven, s.cfg.ClientCAs
	}
	return serve(ctx, srv, func() error { return srv.ServeTLS(l, "", "") })
}

func (s *Server) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// serve runs a server until ctx is done.
func serve(ctx context.Context, srv *http.Server, run func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- run() }()
	select {
	case err := <-ended:
		return fmt.Errorf("admin: serve: %w", err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if srv.Shutdown(last) != nil {
		_ = srv.Close() // whoever still talks has had its time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: serve: %w", err)
	}
	return nil
}

// listenSocket makes the socket in a folder that nobody else can enter, and moves it to its place only when its mode is
// right: there is no moment at which somebody else could connect.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := vacate(ctx, path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".sock")
	if err != nil {
		return nil, fmt.Errorf("admin: make the socket %s: %w", path, err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin: make the socket %s: %w; a socket's path may have some 100 bytes", path, err)
	}
	l.SetUnlinkOnClose(false) // it will not be there any more
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, fmt.Errorf("admin: make the socket %s: %w", path, errors.Join(err, l.Close()))
	}
	return l, nil
}

// vacate fails if path is in use.
func vacate(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("admin: look at the socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("admin: %s is there and is no socket; set admin.socket to another path", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("admin: another hub answers on %s; stop it, or set admin.socket to another path", path)
	}
	return nil
}
