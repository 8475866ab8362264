package embedded

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// socket serves etcd's client API to other processes of the same user.
type socket struct {
	path   string
	server *grpc.Server
	served chan struct{}
}

// socketPath of a ListenClient; empty for none.
func socketPath(listenClient string) (string, error) {
	if listenClient == "" {
		return "", nil
	}
	path, ok := strings.CutPrefix(listenClient, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", fmt.Errorf(`listenClient %q is not a unix socket; write "unix:///path/to.sock", or name an outside etcd in catalog.endpoints`, listenClient)
	}
	return path, nil
}

func listen(path string, etcd *etcdserver.EtcdServer) (*socket, error) {
	l, err := listenUnix(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	s := &socket{path: path, served: make(chan struct{})}
	s.server = v3rpc.Server(etcd, nil, nil,
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Hour, Timeout: 20 * time.Second}))
	go func() {
		defer close(s.served)
		_ = s.server.Serve(l) // ends with Stop; a client sees a broken listener as an etcd that is away
	}()
	return s, nil
}

// listenUnix listens on a socket that nobody else can open, not even for a moment: it is made in a private folder and
// moved once its mode is right.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = c.Close()
		return nil, errors.New("another process listens there; stop it, or choose another path")
	}
	if fi, err := os.Lstat(path); err == nil && fi.Mode().Type() != os.ModeSocket {
		return nil, errors.New("the path is taken by a file that is no socket; move it away")
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }()
	made := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its path changes now
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Rename(made, path) // replaces what a killed process left
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

func (s *socket) close() {
	s.server.Stop()
	<-s.served
	_ = os.Remove(s.path)
}
