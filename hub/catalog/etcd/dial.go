package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// reconnect replaces gRPC's pauses of up to two minutes: writes are back within seconds of a quorum (FAULTS F-20).
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// Config of an outside etcd.
type Config struct {
	// Endpoints: "https://host:2379", or "unix:///path" for the socket of a hub on this host. At least one, all of one
	// scheme. "http" is refused but for loopback.
	Endpoints []string
	// CAFile with the roots of the servers' certificates; empty: the system's.
	CAFile string
	// CertFile and KeyFile of the client certificate, both or neither. They are read again for each connection, so that a
	// renewed pair is used without a restart.
	CertFile, KeyFile string
	// Log hears of client certificates that cannot be read; nil: nobody.
	Log *slog.Logger
}

// Dial makes a client; it does not wait for a server, the first call does. Close the client when every Catalog on it is
// out of use.
func Dial(cfg Config) (*clientv3.Client, error) {
	endpoints, secure, err := cfg.endpoints()
	if err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	var conf *tls.Config
	if secure {
		if conf, err = cfg.tls(); err != nil {
			return nil, fmt.Errorf("catalog: %w", err)
		}
	} else if cfg.CAFile != "" || cfg.CertFile != "" {
		return nil, errors.New("catalog: caFile and certFile are for https endpoints; drop them or use https")
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		TLS:                  conf,
		DialKeepAliveTime:    10 * time.Second, // notices a host that vanished
		DialKeepAliveTimeout: 5 * time.Second,
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(reconnect)},
		Logger:               zap.NewNop(), // our errors and the watch's log say it; its own lines repeat them per try
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: etcd client for %s: %w", strings.Join(endpoints, ", "), err)
	}
	return client, nil
}

// endpoints checks them and reports whether they speak TLS.
func (cfg Config) endpoints() (endpoints []string, secure bool, err error) {
	if len(cfg.Endpoints) == 0 {
		return nil, false, errors.New("no etcd endpoint; name at least one, or leave catalog.endpoints out for the embedded etcd")
	}
	scheme := ""
	for _, e := range cfg.Endpoints {
		u, err := url.Parse(e)
		switch {
		case err != nil:
			return nil, false, fmt.Errorf("etcd endpoint: %w", err)
		case scheme != "" && u.Scheme != scheme:
			return nil, false, fmt.Errorf("etcd endpoint %q: all endpoints have one scheme, the first has %s", e, scheme)
		case u.User != nil:
			return nil, false, errors.New("an etcd endpoint carries a user; use a client certificate")
		case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		case u.Scheme == "https" && u.Port() != "" && u.Hostname() != "" && strings.Trim(u.Path, "/") == "":
			secure = true
		case u.Scheme == "http" && u.Port() != "" && isLoopback(u.Hostname()) && strings.Trim(u.Path, "/") == "":
		default:
			return nil, false, fmt.Errorf(`etcd endpoint %q: write "https://host:port" or "unix:///path"; http only on loopback`, e)
		}
		scheme = u.Scheme
		endpoints = append(endpoints, strings.TrimSuffix(e, "/"))
	}
	return endpoints, secure, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

func (cfg Config) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("caFile of etcd: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("caFile of etcd: %s holds no PEM certificate", cfg.CAFile)
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("certFile and keyFile of etcd: give both or neither")
	}
	if cfg.CertFile != "" {
		pair, err := newKeyPair(cfg.CertFile, cfg.KeyFile, cfg.Log)
		if err != nil {
			return nil, err
		}
		conf.GetClientCertificate = pair.get
	}
	return conf, nil
}

// keyPair is read for each connection; while the files are broken, for example half renewed, the last good one serves.
type keyPair struct {
	cert, key string
	log       *slog.Logger
	good      atomic.Pointer[tls.Certificate]
}

func newKeyPair(cert, key string, log *slog.Logger) (*keyPair, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	p := &keyPair{cert: cert, key: key, log: log}
	c, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certFile and keyFile of etcd: %w", err)
	}
	p.good.Store(&c)
	return p, nil
}

func (p *keyPair) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "client certificate for etcd cannot be read, the last good one is used",
			slog.String("file", p.cert), slog.Any("error", err))
		return p.good.Load(), nil
	}
	p.good.Store(&c)
	return &c, nil
}
