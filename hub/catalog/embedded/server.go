package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"go.uber.org/zap"

	"penstock.dev/penstock/hub/catalog"
)

const (
	memberName = "penstock"
	// The one member's identity is derived from its peer URL, so it must never change. Nobody listens there.
	peerURL = "unix://penstock:0"

	quotaBytes       = 2 << 30
	maxRequestBytes  = 3 << 19 // etcd's own default
	compactionWindow = time.Hour
	closeTimeout     = 15 * time.Second
	// leaseTimeout is how long the first renewal of a lease may take; v3client's own second is short on a busy host.
	leaseTimeout = 10 * time.Second
)

// ErrInUse: another process, or another Server in this one, has the folder.
var ErrInUse = errors.New("catalog: folder of the embedded etcd is in use")

// Config of a Server.
type Config struct {
	// Dir holds everything; it is made with mode 0700. No other process may have it at the same time.
	Dir string
	// ListenClient "unix:///path" opens a socket (mode 0600) for other replicas on this host; empty: none.
	ListenClient string
	// Log gets etcd's warnings and errors; nil: nobody.
	Log *slog.Logger
}

// Server is a running etcd. Safe for concurrent use.
type Server struct {
	etcd   *etcdserver.EtcdServer
	client *clientv3.Client
	socket *socket // nil without ListenClient
	lock   *fileutil.LockedFile
	fault  *fault
	close  func() error
}

// Start starts the server and returns when it takes writes, or when ctx is done. It returns ErrInUse if somebody else has
// the folder.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	path, err := socketPath(cfg.ListenClient)
	if err != nil {
		return nil, fmt.Errorf("catalog: embedded etcd: %w", err)
	}
	lock, err := acquire(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{lock: lock, fault: newFault()}
	s.close = sync.OnceValue(s.shutdown)
	if err := s.start(ctx, cfg.Dir, zapLogger(log, s.fault)); err != nil {
		return nil, errors.Join(fmt.Errorf("catalog: embedded etcd in %s: %w", cfg.Dir, err), s.Close())
	}
	if path != "" {
		if s.socket, err = listen(path, s.etcd); err != nil {
			return nil, errors.Join(fmt.Errorf("catalog: embedded etcd: %w", err), s.Close())
		}
	}
	return s, nil
}

// acquire makes the folder and takes it for this process.
func acquire(dir string) (*fileutil.LockedFile, error) {
	if dir == "" {
		return nil, errors.New("catalog: embedded etcd: no folder given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("catalog: embedded etcd: %w", err)
	}
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("%w: %s; stop the other hub, or give this one a stateDir of its own", ErrInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("catalog: embedded etcd: lock %s: %w", dir, err)
	}
	return lock, nil
}

func (s *Server) start(ctx context.Context, dir string, log *zap.Logger) error {
	ready, err := begin(dir)
	if err != nil {
		return err
	}
	made := make(chan *etcdserver.EtcdServer, 1)
	refused := make(chan error, 1)
	// etcd's fatal errors end the goroutine they happen in (see fault), so it must not be ours.
	go func() {
		defer func() {
			if r := recover(); r != nil { // it also trips over its own feet
				refused <- fmt.Errorf("etcd cannot read its data: %v; restore the folder from a backup, then restart", r)
			}
		}()
		server, err := etcdserver.NewServer(serverConfig(dir, log))
		if err != nil {
			refused <- err
			return
		}
		server.Start()
		made <- server
	}()
	select {
	case s.etcd = <-made:
		s.client = client(s.etcd)
	case err := <-refused:
		return err
	case <-s.fault.done: // whatever NewServer still holds is lost with the process
		return s.fault.Err()
	}
	select {
	case <-s.etcd.ReadyNotify():
		return ready()
	case <-s.fault.done:
		return s.fault.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func serverConfig(dir string, log *zap.Logger) config.ServerConfig {
	peers := types.MustNewURLs([]string{peerURL})
	return config.ServerConfig{
		Name:                       memberName,
		DataDir:                    dir,
		PeerURLs:                   peers,
		InitialPeerURLsMap:         types.URLsMap{memberName: peers},
		InitialClusterToken:        memberName,
		NewCluster:                 true, // looked at only when there is no data yet
		Logger:                     log,
		SnapshotCount:              etcdserver.DefaultSnapshotCount,
		SnapshotCatchUpEntries:     etcdserver.DefaultSnapshotCatchUpEntries,
		MaxSnapFiles:               5,
		MaxWALFiles:                5,
		TickMs:                     100,
		ElectionTicks:              10,
		InitialElectionTickAdvance: true,
		PreVote:                    true,
		AutoCompactionMode:         "periodic",
		AutoCompactionRetention:    compactionWindow,
		QuotaBackendBytes:          quotaBytes,
		MaxTxnOps:                  catalog.MaxOps,
		MaxRequestBytes:            maxRequestBytes,
		MaxConcurrentStreams:       math.MaxUint32,
		StrictReconfigCheck:        true,
		// Slower than this is a warning; a hub's few writes can wait a little on a shared disk.
		WarningApplyDuration:        500 * time.Millisecond,
		WarningUnaryRequestDuration: time.Second,
		CompactHashCheckTime:        time.Minute,
		V2Deprecation:               config.V2DeprDefault,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(memberName, log),
		Metrics:                     "basic",
		BcryptCost:                  10, // etcd's users are not used; without a cost it warns
	}
}

// client calls the server's functions directly.
func client(s *etcdserver.EtcdServer) *clientv3.Client {
	c := v3client.New(s)
	_ = c.Lease.Close() // nothing ran in it yet
	c.Lease = clientv3.NewLeaseFromLeaseClient(adapter.LeaseServerToLeaseClient(v3rpc.NewQuotaLeaseServer(s)), c, leaseTimeout)
	return c
}

// Client of this server, in process. It is closed by Close; do not close it yourself.
func (s *Server) Client() *clientv3.Client { return s.client }

// Done is closed when etcd has stopped by itself because its disk or its data failed; Err says how. The hub may go on
// reading from memory; only a restart brings the store back.
func (s *Server) Done() <-chan struct{} { return s.fault.done }

// Err is the failure after Done, nil before.
func (s *Server) Err() error { return s.fault.Err() }

// Close stops the server and gives the folder free. It returns when all is down, or an error after 15 seconds, which only
// a failed disk can bring about. More calls return the same.
func (s *Server) Close() error { return s.close() }

func (s *Server) shutdown() error {
	down := make(chan struct{})
	go func() {
		defer close(down)
		if s.socket != nil {
			s.socket.close()
		}
		if s.client != nil {
			_ = s.client.Close()
		}
		if s.etcd != nil {
			s.etcd.Stop()
		}
		_ = s.lock.Close()
	}()
	select {
	case <-down:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("catalog: embedded etcd did not stop within %v; what was acknowledged is on disk, end the process", closeTimeout)
	}
}
