package admin

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Config says how a Client reaches a hub. Exactly one of Socket and Address is set.
type Config struct {
	// Socket is the path of the hub's unix socket.
	Socket string
	// Address is "host:port" of the hub's admin listener, spoken to over TLS 1.3.
	Address string
	// CAFile is PEM with the only roots that are trusted for Address; empty: the system's.
	CAFile string
	// Token is sent to Address as a bearer token; never over a socket.
	Token Token
	// CertFile and KeyFile are a client certificate for Address; both or none.
	CertFile, KeyFile string
	// Timeout of one call [30s].
	Timeout time.Duration
}

// Token is a bearer token. It prints as [redacted]; convert it to string to use it.
type Token string

const redacted = "[redacted]"

// String hides the token.
func (Token) String() string { return redacted }

// GoString hides the token from %#v.
func (Token) GoString() string { return redacted }

// MarshalText hides the token from encoders.
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the token from slog.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// New checks the config and reads its files. It dials nothing.
func New(cfg Config) (*Client, error) {
	transport := &http.Transport{
		DisableCompression: true,
		// A command makes a handful of calls; idle connections must not outlive it by much.
		IdleConnTimeout: 5 * time.Second,
	}
	c := &Client{
		http: &http.Client{
			Transport: transport,
			Timeout:   cmp.Or(cfg.Timeout, 30*time.Second),
			// A redirect would carry the token or a credential's value to an address that nobody chose.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	switch {
	case cfg.Socket != "" && cfg.Address != "":
		return nil, errors.New("admin API: both a socket and an address are given; give one")
	case cfg.Socket != "":
		c.base, c.where = "http://penstock", cfg.Socket
		c.remedy = "start the hub, or name the admin.socket of its configuration"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", cfg.Socket)
		}
	case cfg.Address != "":
		if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
			return nil, fmt.Errorf("admin API: address %q is not host:port (%w); write e.g. hub.example.com:8444", cfg.Address, err)
		}
		if strings.ContainsFunc(string(cfg.Token), func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("admin API: the token holds a character that no token has; is it from the right file?")
		}
		conf, err := tlsConfig(cfg)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = conf
		transport.Proxy = http.ProxyFromEnvironment
		c.base, c.where, c.token = "https://"+cfg.Address, cfg.Address, cfg.Token
		c.remedy = "check admin.address of the hub's configuration and the way to it"
	default:
		return nil, errors.New("admin API: neither a socket nor an address is given; give the hub's admin.socket, or its admin.address")
	}
	return c, nil
}

// Close closes idle connections. The client may still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func tlsConfig(cfg Config) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS13}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("admin API: read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("admin API: CA file %s holds no certificate in PEM; export the one that signed the hub's admin certificate", cfg.CAFile)
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("admin API: a client certificate needs both its certificate file and its key file")
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("admin API: load client certificate %s: %w", cfg.CertFile, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}
