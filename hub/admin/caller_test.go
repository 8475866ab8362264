package admin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/registry"
)

// ca is a certificate authority of a test.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string) ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ca{cert, key}
}

// issue makes a client certificate, changed as the test likes.
func (c ca) issue(t *testing.T, change ...func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "alice"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

const (
	aliceToken = "tok-canary-alice"
	bobToken   = "tok-canary-bob"
)

// remote serves over TLS with two tokens and a client CA, and returns the address. prepare may change the server before
// it serves.
func remote(t *testing.T, prepare ...func(*world)) (w *world, address string, clients ca) {
	t.Helper()
	clients = newCA(t, "admins")
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	w = newWorld(t, func(c *Config) {
		c.Tokens = []Token{{"alice", hashOf(aliceToken), PlatformAdmin, nil}, {"bob", strings.ToUpper(hashOf(bobToken)), PlatformAdmin, nil}}
		c.ClientCAs, c.Clients = pool, []Client{{"alice", PlatformAdmin, nil}}
	})
	for _, p := range prepare {
		p(w)
	}
	w.secret(aliceToken)
	w.secret(bobToken)
	var err error
	if w.server.cfg.Certificate, err = w.registry.ServerCertificate([]string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	w.server.remote = w.record(w.server.remote)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.run(func(ctx context.Context) error { return w.server.ServeTLS(ctx, l) })
	return w, l.Addr().String(), clients
}

// httpClient trusts the hub.
func (w *world) httpClient(cert *tls.Certificate) *http.Client {
	conf := &tls.Config{RootCAs: w.registry.Roots()}
	if cert != nil {
		// Whatever CAs the server asks for: an attacker sends what there is.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	tr := &http.Transport{TLSClientConfig: conf}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestWhoMayCallOverTLS(t *testing.T) {
	w, address, clients := remote(t)
	gateway := func(path string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: path}}
		}
	}
	bearer := func(tokens ...string) http.Header {
		h := http.Header{}
		for _, t := range tokens {
			h.Add("Authorization", "Bearer "+t)
		}
		return h
	}
	for _, tt := range []struct {
		name   string
		cert   *tls.Certificate
		header http.Header
		status int    // 0: no answer at all
		actor  string // of the write
	}{
		{"nobody in particular may not", nil, nil, 401, ""},
		{"who has a token may", nil, bearer(aliceToken), 201, "token:alice"},
		{"who has the other token may", nil, bearer(bobToken), 201, "token:bob"},
		{"the scheme's case does not matter", nil, http.Header{"Authorization": {"bearer " + aliceToken}}, 201, "token:alice"},
		{"a token that is not configured does not help", nil, bearer("tok-canary-eve"), 401, ""},
		{"the beginning of a token does not help", nil, bearer(aliceToken[:len(aliceToken)-1]), 401, ""},
		{"a token and more does not help", nil, bearer(aliceToken + "x"), 401, ""},
		{"the hash of a token does not help", nil, bearer(hashOf(aliceToken)), 401, ""},
		{"an empty token does not help", nil, bearer(""), 401, ""},
		{"two tokens do not help", nil, bearer(aliceToken, bobToken), 401, ""},
		{"another scheme does not help", nil, http.Header{"Authorization": {"Basic " + aliceToken}}, 401, ""},
		{"a token without scheme does not help", nil, http.Header{"Authorization": {aliceToken}}, 401, ""},
		{"a token in another header does not help", nil, http.Header{"Proxy-Authorization": {"Bearer " + aliceToken}}, 401, ""},
		{"who has a certificate of the client CA may", clients.issue(t), nil, 201, "certificate:alice"},
		{"a bad token beside a good certificate may not", clients.issue(t), bearer("tok-canary-eve"), 401, ""},
		{"two tokens beside a good certificate may not", clients.issue(t), bearer(aliceToken, aliceToken), 401, ""},
		{"a certificate of another CA may not", newCA(t, "others").issue(t), nil, 0, ""},
		{"an expired certificate may not", clients.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), nil, 0, ""},
		{"a certificate for servers may not", clients.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), nil, 0, ""},
		{"a spoke may not", clients.issue(t, gateway("/cluster/east/gateway/0123")), nil, 401, ""},
		{"a hub may not", clients.issue(t, gateway("/hub/0123")), nil, 401, ""},
		{"a certificate of the client CA that nobody named may not", clients.issue(t, func(c *x509.Certificate) { c.Subject.CommonName = "mallory" }), nil, 401, ""},
		{"a SPIFFE id that is no gateway's may", clients.issue(t, gateway("/ns/ops/sa/admin")), nil, 201, "certificate:alice"},
		{"a page of another site may not, whoever looks at it", clients.issue(t), http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, ""},
		{"a page of another origin may not, in an old browser", clients.issue(t), http.Header{"Origin": {"https://evil.example.net"}}, 403, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clusters, err := w.registry.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			name := "c" + hashOf(tt.name)[:8]
			body, err := json.Marshal(admin.RegisterRequest{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+address+"/v1/clusters", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != nil {
				req.Header = tt.header
			}
			resp, err := w.httpClient(tt.cert).Do(req)
			status, text := 0, ""
			if err == nil {
				defer resp.Body.Close()
				data, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				status, text = resp.StatusCode, string(data)
			}
			if status != tt.status {
				t.Fatalf("answer = %d %s (%v), want %d", status, text, err, tt.status)
			}
			after, err := w.registry.List(t.Context())
			if err != nil || len(after) != len(clusters) && tt.status != 201 {
				t.Errorf("who may not call has registered a cluster (%v)", err)
			}
			if tt.status == 401 {
				var e admin.Error
				if err := json.Unmarshal([]byte(text), &e); err != nil || e.Code != admin.CodeUnauthorized || e.Remedy == "" || resp.Header.Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("refusal = %s %v, want one with a remedy and a challenge", text, resp.Header)
				}
			}
			if tt.actor != "" {
				lines := w.audit()
				if last := lines[len(lines)-1]; !strings.HasPrefix(last, "actor="+tt.actor+" ") && !strings.HasPrefix(last, `actor="`+tt.actor+`" `) {
					t.Errorf("audit = %q, want actor %s", last, tt.actor)
				}
			}
		})
	}
	if n := strings.Count(w.log.String(), "admin caller refused"); n != 15 {
		t.Errorf("%d refused callers were written down, want 15", n)
	}
}

// T-D4: whatever CA is configured for clients, a spoke's own credentials open no operation.
func TestASpokeIsNoAdministrator(t *testing.T) {
	w, address, _ := remote(t, func(w *world) { w.server.cfg.ClientCAs = w.registry.Roots() })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.registry.Register(t.Context(), registry.Registration{Name: "east"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.registry.Join(t.Context(), control.JoinRequest{
		Cluster: "east", Token: b.Token, Instance: "pod-1",
		CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := pem.Decode([]byte(c.Chain))
	client := w.httpClient(&tls.Certificate{Certificate: [][]byte{leaf.Bytes}, PrivateKey: key})
	for _, op := range admin.Operations() {
		method, path, _ := strings.Cut(op, " ")
		path = strings.NewReplacer("{", "", "}", "").Replace(path)
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s as a spoke = %d, want 401", op, resp.StatusCode)
		}
	}
}

// The client that people use, with what the hub gives them.
func TestTheClientReachesTheHubOverTLS(t *testing.T) {
	w, address, _ := remote(t)
	roots := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(roots, []byte(w.registry.RootsPEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := admin.New(admin.Config{Address: address, CAFile: roots, Token: aliceToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if v, err := c.Version(t.Context()); err != nil || v.Version != "v1.2.3" {
		t.Errorf("version = %+v, %v", v, err)
	}
	eve, err := admin.New(admin.Config{Address: address, CAFile: roots, Token: "tok-canary-eve"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(eve.Close)
	_, err = eve.Version(t.Context())
	wantError(t, "version with an unknown token", err, 401, admin.CodeUnauthorized)
}

func TestTLSIs13(t *testing.T) {
	w, address, _ := remote(t)
	d := tls.Dialer{Config: &tls.Config{RootCAs: w.registry.Roots(), MaxVersion: tls.VersionTLS12}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err == nil {
		c.Close()
		t.Error("a handshake with TLS 1.2 succeeded")
	}
}

func TestNewRefuses(t *testing.T) {
	good := newWorld(t).server.cfg
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string // in the error; empty: none
	}{
		{"nothing when all is well", func(*Config) {}, ""},
		{"missing clusters", func(c *Config) { c.Clusters = nil }, "needs Clusters"},
		{"missing credentials", func(c *Config) { c.Credentials = nil }, "Credentials"},
		{"missing objects", func(c *Config) { c.Objects = nil }, "Objects"},
		{"a missing codec", func(c *Config) { c.Codec = nil }, "Codec"},
		{"a missing hub", func(c *Config) { c.Hub = nil }, "Hub"},
		{"a token in place of its hash", func(c *Config) { c.Tokens = []Token{{"alice", aliceToken, PlatformAdmin, nil}} }, "SHA-256"},
		{"a hash that is too short", func(c *Config) { c.Tokens = []Token{{"alice", "00", PlatformAdmin, nil}} }, "SHA-256"},
		{"a token without a name", func(c *Config) { c.Tokens = []Token{{"", hashOf(aliceToken), PlatformAdmin, nil}} }, "needs a name"},
	} {
		cfg := good
		tt.change(&cfg)
		_, err := New(cfg)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New error = %v, want %q in it", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), aliceToken) {
			t.Errorf("%s: the error holds the token: %v", tt.name, err)
		}
	}
}

func TestServeTLSNeedsACertificate(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.server.ServeTLS(t.Context(), l); err == nil {
		t.Error("ServeTLS without a certificate succeeded")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}
