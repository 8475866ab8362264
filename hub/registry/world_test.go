package registry

import (
	"bytes"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
	"penstock.dev/penstock/tunnel"
)

// world is a catalog with hub replicas on it. At its end no log line and no catalog record may hold a secret.
type world struct {
	t       *testing.T
	catalog *catalogtest.Memory
	sealer  Sealer
	log     *logBuffer

	mu      sync.Mutex
	secrets map[string]string // what, by value
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, catalog: catalogtest.New(), sealer: newSealer(t), log: &logBuffer{}, secrets: map[string]string{}}
	t.Cleanup(w.checkSecrets)
	return w
}

// replica makes a hub that does not follow the catalog yet.
func (w *world) replica(name string, change ...func(*Config)) *Registry {
	w.t.Helper()
	cfg := Config{
		Catalog:       w.catalog,
		Sealer:        w.sealer,
		Objects:       catalog.NewObjects(w.catalog),
		TrustDomain:   "example.com",
		Name:          name,
		JoinAddresses: func() []string { return []string{"https://192.0.2.1:8443"} },
		Pseudonym:     func(group string) string { return "ps-" + group[:4] },
		Log:           slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	r, err := New(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatalf("New(%s): %v", name, err)
	}
	domain, current, _, err := r.HopKeys()
	if err != nil {
		w.t.Fatalf("HopKeys: %v", err)
	}
	w.secret("domain key", string(domain))
	w.secret("CDN-Loop key", string(current))
	key, err := x509.MarshalPKCS8PrivateKey(r.trust.Load().issuer.key)
	if err != nil {
		w.t.Fatal(err)
	}
	w.secret("CA key", string(key))
	w.secret("CA key in base64", base64.StdEncoding.EncodeToString(key))
	return r
}

// run has a replica follow the catalog until the test ends.
func (w *world) run(r *Registry) *Registry {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return r
}

func (w *world) secret(what, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[value] = what
}

func (w *world) checkSecrets() {
	w.mu.Lock()
	defer w.mu.Unlock()
	recs, _, err := w.catalog.List(context.Background(), "")
	if err != nil {
		w.t.Fatalf("list the catalog: %v", err)
	}
	if len(recs) == 0 || w.log.String() == "" {
		w.t.Error("the search for secrets had nothing to search")
	}
	for value, what := range w.secrets {
		if strings.Contains(w.log.String(), value) {
			w.t.Errorf("the log holds a secret: %s", what)
		}
		for _, rec := range recs {
			if strings.Contains(rec.Key, value) || bytes.Contains(rec.Value, []byte(value)) {
				w.t.Errorf("catalog record %s holds a secret: %s", rec.Key, what)
			}
		}
	}
}

// checkError fails when an error's text holds a secret.
func (w *world) checkError(err error) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for value, what := range w.secrets {
		if err != nil && strings.Contains(err.Error(), value) {
			w.t.Errorf("an error holds a secret, %s: %v", what, err)
		}
	}
}

func (w *world) register(r *Registry, name string) control.Bundle {
	w.t.Helper()
	b, err := r.Register(w.t.Context(), Registration{Name: name})
	if err != nil {
		w.t.Fatalf("Register(%s): %v", name, err)
	}
	w.secret("token of "+name, b.Token)
	return b
}

// gateway is a process at a spoke.
type gateway struct {
	w    *world
	name string
	key  crypto.Signer
	cert *x509.Certificate
	last control.Certificate
}

// join registers nothing: the bundle is there.
func (w *world) join(r *Registry, b control.Bundle, instance string) *gateway {
	w.t.Helper()
	g := &gateway{w: w, name: instance, key: newKey(w.t)}
	c, err := r.Join(w.t.Context(), control.JoinRequest{Cluster: b.Cluster, Token: b.Token, Instance: instance, CSR: csrOf(w.t, g.key)})
	if err != nil {
		w.t.Fatalf("Join(%s): %v", instance, err)
	}
	g.take(c)
	return g
}

func (g *gateway) take(c control.Certificate) {
	g.w.t.Helper()
	g.last, g.cert = c, parseLeaf(g.w.t, c.Chain)
}

// peer is what a hub reads from the gateway's certificate in a handshake.
func (g *gateway) peer() tunnel.Peer { return peerOf(g.w.t, g.cert) }

// renew makes a new key and asks for its certificate.
func (g *gateway) renew(r *Registry) error {
	g.w.t.Helper()
	key := newKey(g.w.t)
	c, err := r.Renew(g.w.t.Context(), g.peer(), control.RenewRequest{CSR: csrOf(g.w.t, key), Generation: g.last.Generation})
	g.w.checkError(err)
	if err == nil {
		g.key = key
		g.take(c)
	}
	return err
}

// recoverRequest asks for a certificate for key with the one the gateway has.
func (g *gateway) recoverRequest(key crypto.Signer) control.RecoverRequest {
	g.w.t.Helper()
	csr := csrOf(g.w.t, key)
	return control.RecoverRequest{
		Certificate: g.last.Chain, CSR: csr, Generation: g.last.Generation, Signature: recoverSignature(g.w.t, g.key, csr),
	}
}

func recoverSignature(t *testing.T, key crypto.Signer, csr string) string {
	t.Helper()
	digest := sha256.Sum256([]byte("penstock recover v1\n" + csr))
	opts := crypto.SignerOpts(crypto.SHA256)
	if _, ok := key.(ed25519.PrivateKey); ok {
		opts = crypto.Hash(0) // Ed25519 over the digest itself
	}
	sig, err := key.Sign(rand.Reader, digest[:], opts)
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// clone is another process with a copy of everything.
func (g *gateway) clone() *gateway {
	c := *g
	return &c
}

func peerOf(t *testing.T, cert *x509.Certificate) tunnel.Peer {
	t.Helper()
	if len(cert.URIs) != 1 {
		t.Fatalf("certificate has URIs %v, want one", cert.URIs)
	}
	id, err := tunnel.ParseID(cert.URIs[0].String())
	if err != nil {
		t.Fatalf("ParseID: %v", err)
	}
	return tunnel.Peer{ID: id, Instance: cert.Subject.SerialNumber, Serial: cert.SerialNumber.Text(16), NotAfter: cert.NotAfter}
}

func parseLeaf(t *testing.T, chain string) *x509.Certificate {
	t.Helper()
	cert, err := parsePEM(chain)
	if err != nil {
		t.Fatalf("parse the chain: %v", err)
	}
	return cert
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrOf(t *testing.T, key crypto.Signer) string {
	t.Helper()
	return csrFrom(t, &x509.CertificateRequest{}, key)
}

func csrFrom(t *testing.T, template *x509.CertificateRequest, key crypto.Signer) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatalf("make a CSR: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// codeOf an error; "" is none.
func codeOf(err error) Code {
	e, ok := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		return Code("not a registry.Error: " + err.Error())
	}
	return e.Code
}

func wantCode(t *testing.T, what string, err error, want Code) {
	t.Helper()
	if got := codeOf(err); got != want {
		t.Errorf("%s: code = %q (%v), want %q", what, got, err, want)
	}
}

// wantStanding checks Admit and Gone together: they must agree.
func wantStanding(t *testing.T, what string, r *Registry, p tunnel.Peer, welcome bool) {
	t.Helper()
	if err := r.Admit(p); (err == nil) != welcome {
		t.Errorf("%s: Admit = %v, want welcome = %v", what, err, welcome)
	}
	if reason, gone := r.Gone(p); gone == welcome {
		t.Errorf("%s: Gone = %v (%s), want %v", what, gone, reason, !welcome)
	}
}

// simulate runs a test in virtual time.
func simulate(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

// pass lets virtual time go by, and all that happens in it.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

type sealer struct{ aead cipher.AEAD }

func newSealer(t *testing.T) Sealer {
	t.Helper()
	block, err := aes.NewCipher(random(32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{aead}
}

func (s sealer) Seal(name string, plain []byte) ([]byte, error) {
	return s.aead.Seal(nil, nil, plain, []byte(name)), nil
}

func (s sealer) Open(name string, sealed []byte) ([]byte, error) {
	return s.aead.Open(nil, nil, sealed, []byte(name))
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lossy is a catalog whose next commit is made, but its answer lost.
type lossy struct {
	catalog.Catalog
	mu   sync.Mutex
	lose bool
}

func (l *lossy) loseNext() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = true
}

func (l *lossy) Commit(ctx context.Context, ops ...catalog.Op) (int64, error) {
	revision, err := l.Catalog.Commit(ctx, ops...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.lose {
		l.lose = false
		return 0, catalog.ErrUnavailable
	}
	return revision, err
}

const hour = time.Hour

// apply writes a Cluster object as a manifest does, and waits until all replicas that follow have seen it.
func (w *world) apply(t *testing.T, name, data string) {
	t.Helper()
	_, _, err := catalog.NewObjects(w.catalog).Apply(t.Context(), "folder", catalog.Object{Ref: clusterRef(name), Data: []byte(data)},
		catalog.ApplyOptions{Force: true})
	if err != nil {
		t.Fatalf("apply Cluster %s: %v", name, err)
	}
	synctest.Wait()
}

func (w *world) deleteObject(t *testing.T, name string) {
	t.Helper()
	if err := catalog.NewObjects(w.catalog).Delete(t.Context(), "", clusterRef(name), catalog.ApplyOptions{Force: true}); err != nil {
		t.Fatalf("delete Cluster %s: %v", name, err)
	}
	synctest.Wait()
}

type catalogSnapshot = catalogtest.Snapshot

func restored(backup catalogSnapshot) catalog.Catalog {
	c := catalogtest.New()
	c.Restore(backup)
	return c
}
