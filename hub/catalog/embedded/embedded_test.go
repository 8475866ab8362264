package embedded_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"penstock.dev/penstock/hub/catalog/catalogtest"
	"penstock.dev/penstock/hub/catalog/embedded"
	"penstock.dev/penstock/hub/catalog/etcd"
)

func TestEmbeddedHoldsToTheContract(t *testing.T) {
	server := start(t, embedded.Config{Dir: t.TempDir()})
	catalogtest.Contract(t, func(t *testing.T) catalogtest.Fixture {
		c := etcd.New(server.Client(), prefix(t), nil)
		return catalogtest.Fixture{Catalog: c, Other: c, Compact: func() { compact(t, server.Client()) }}
	})
}

// The same through the socket, by a client that can be cut off.
func TestTheSocketHoldsToTheContract(t *testing.T) {
	dir := socketDir(t)
	server := start(t, embedded.Config{Dir: t.TempDir(), ListenClient: "unix://" + dir + "/etcd"})
	catalogtest.Contract(t, func(t *testing.T) catalogtest.Fixture {
		r := newRelay(t, dir+"/etcd")
		client, err := etcd.Dial(etcd.Config{Endpoints: []string{"unix://" + r.path}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		return catalogtest.Fixture{
			Catalog: etcd.New(client, prefix(t), nil),
			Other:   etcd.New(server.Client(), prefix(t), nil),
			Cut:     r.cut,
			Compact: func() { compact(t, server.Client()) },
		}
	})
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// prefix gives each case of a suite an empty store.
func prefix(t *testing.T) string { return "/" + strings.ReplaceAll(t.Name(), " ", "-") + "/" }

func compact(t *testing.T, client *clientv3.Client) {
	t.Helper()
	resp, err := client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), resp.Header.GetRevision(), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// socketDir is short: the path of a socket has at most 107 bytes.
func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// relay passes connections on to a socket until it is cut.
type relay struct {
	path, target string
	down         atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newRelay(t *testing.T, target string) *relay {
	r := &relay{path: filepath.Join(socketDir(t), "r"), target: target, conns: map[net.Conn]bool{}}
	l, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.pass(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.cut(true)
		all.Wait()
	})
	return r
}

func (r *relay) pass(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("unix", r.target)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	if !r.add(in, out) {
		return
	}
	var both sync.WaitGroup
	for _, p := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(p[0], p[1])
			_ = p[0].Close()
			_ = p[1].Close()
		})
	}
	both.Wait()
}

func (r *relay) add(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.conns[c] = true
	}
	return !r.down.Load()
}

func (r *relay) cut(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down.Store(down)
	if down {
		for c := range r.conns {
			_ = c.Close()
		}
		clear(r.conns)
	}
}
