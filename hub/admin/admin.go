package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/credential"
	"penstock.dev/penstock/hub/registry"
	"penstock.dev/penstock/manifest"
)

// Clusters is the register of clusters; *registry.Registry is one.
type Clusters interface {
	Register(ctx context.Context, r registry.Registration) (control.Bundle, error)
	Recover(ctx context.Context, name string, ttl time.Duration) (control.Bundle, error)
	Suspend(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	Revoke(ctx context.Context, name string) error
	Show(ctx context.Context, name string) (registry.Info, error)
	List(ctx context.Context) ([]registry.Info, error)
}

// Credentials keeps the values of Credentials; *credential.Store is one.
type Credentials interface {
	Set(ctx context.Context, namespace, name string, value credential.Secret) (version string, err error)
	Rotate(ctx context.Context, namespace, name string, value credential.Secret) (version string, err error)
	Versions(ctx context.Context, namespace, name string) ([]credential.Version, error)
	Delete(ctx context.Context, namespace, name string) error
}

// Objects is where manifests are kept; *catalog.Objects is one.
type Objects interface {
	List(ctx context.Context, prefix string) ([]catalog.Object, int64, error)
	Get(ctx context.Context, ref catalog.Ref) (catalog.Object, error)
	Apply(ctx context.Context, owner string, obj catalog.Object, opt catalog.ApplyOptions) (catalog.Object, catalog.Change, error)
	Delete(ctx context.Context, owner string, ref catalog.Ref, opt catalog.ApplyOptions) error
}

// Codec turns a manifest into the form in which it is kept, a Secret sealed, and back.
type Codec interface {
	Encode(ctx context.Context, o manifest.Object) (catalog.Object, error)
	Decode(o catalog.Object) (manifest.Object, error)
}

// Hub answers what only the running hub knows.
type Hub interface {
	// Status of this replica. Clusters, and problems of clusters, are added to it.
	Status(ctx context.Context) admin.Status
	Version() admin.Version
	// Explain decides about a request with the table that is served; an *admin.Error says that it cannot.
	Explain(ctx context.Context, req admin.ExplainRequest) (admin.Explanation, error)
	// Why returns the refusals that are remembered of a request id, oldest first.
	Why(ctx context.Context, requestID string) []control.Refusal
	// Instances of a cluster that are connected now, sorted by id.
	Instances(cluster string) []admin.Instance
	// Options of the translation.
	Options() manifest.Options
}

// Token lets one remote administrator in.
type Token struct {
	// Name for the audit.
	Name string
	// SHA256 of the token, in hex.
	SHA256 string
	// Role, and the namespaces of a TeamAdmin.
	Role       Role
	Namespaces []string
}

// Client lets the holder of a client certificate in.
type Client struct {
	// Name is the common name of its subject, or a URI of its subject alternative names.
	Name string
	// Role, and the namespaces of a TeamAdmin.
	Role       Role
	Namespaces []string
}

// Audit keeps records of writes; *Trail is one. Append returns when the record is safe.
type Audit interface {
	Append(admin.AuditRecord) error
	Records(since time.Time, limit int) []admin.AuditRecord
}

// Config of a Server. Clusters, Credentials, Objects, Codec and Hub are required.
type Config struct {
	Clusters    Clusters
	Credentials Credentials
	Objects     Objects
	Codec       Codec
	Hub         Hub
	// Validator of manifests; nil: a new one, which takes some 100 ms.
	Validator *manifest.Validator

	// Audit of all writes; nil: they are in the log alone.
	Audit Audit

	// Tokens, and certificates of ClientCAs (nil: none) that Clients name, let callers in over TLS.
	Tokens    []Token
	ClientCAs *x509.CertPool
	Clients   []Client
	// Certificate of the TLS listener; needed by ServeTLS.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	Log *slog.Logger // nil: slog.Default
}

// Server serves the admin API. Make it with New. Safe for concurrent use.
type Server struct {
	cfg    Config
	log    *slog.Logger
	tokens []tokenHash
	// clients by common name or URI
	clients map[string]Actor
	local   http.Handler // for the socket
	remote  http.Handler // for TLS
}

// New checks the config.
func New(cfg Config) (*Server, error) {
	if cfg.Clusters == nil || cfg.Credentials == nil || cfg.Objects == nil || cfg.Codec == nil || cfg.Hub == nil {
		return nil, errors.New("admin: Config needs Clusters, Credentials, Objects, Codec and Hub")
	}
	s := &Server{cfg: cfg, clients: map[string]Actor{}, log: cmp.Or(cfg.Log, slog.Default()).With("component", "admin")}
	for _, t := range cfg.Tokens {
		hash, err := hex.DecodeString(t.SHA256)
		if err != nil || len(hash) != sha256.Size || t.Name == "" {
			return nil, fmt.Errorf("admin: token %q: needs a name and the SHA-256 of the token in 64 hex digits", t.Name)
		}
		actor := Actor{"token:" + t.Name, t.Role, t.Namespaces}
		if err := actor.check(); err != nil {
			return nil, err
		}
		s.tokens = append(s.tokens, tokenHash{actor, [sha256.Size]byte(hash)})
	}
	for _, c := range cfg.Clients {
		actor := Actor{"certificate:" + c.Name, c.Role, c.Namespaces}
		if err := actor.check(); err != nil {
			return nil, err
		}
		s.clients[c.Name] = actor
	}
	if s.cfg.Validator == nil {
		v, err := manifest.NewValidator()
		if err != nil {
			return nil, fmt.Errorf("admin: %w", err)
		}
		s.cfg.Validator = v
	}
	operations := s.operations()
	s.local = s.trustSocket(operations)
	s.remote = http.NewCrossOriginProtection().Handler(s.authenticate(operations))
	return s, nil
}
