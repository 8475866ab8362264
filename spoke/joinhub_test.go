package spoke

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// issuer signs what spokes ask for, as a hub does.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// life of the certificates [an hour].
	life time.Duration

	mu         sync.Mutex
	generation int64
	keys       []string // public keys of the requests, in order
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(9999 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{t: t, cert: cert, key: key, life: time.Hour}
}

func (i *issuer) rootsPEM() string { return certificatePEM(i.cert.Raw) }

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// issue answers a request with a certificate of the next generation for cluster east.
func (i *issuer) issue(csr string) control.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		i.t.Errorf("a request that is none: %q", csr)
		return control.Certificate{}
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = req.CheckSignature()
	}
	if err != nil {
		i.t.Errorf("a request that cannot be read: %v", err)
		return control.Certificate{}
	}
	if len(req.URIs)+len(req.DNSNames) != 0 || req.Subject.String() != "" {
		i.t.Errorf("a request that names itself: %v %v %v", req.Subject, req.URIs, req.DNSNames)
	}
	public, err := x509.MarshalPKIXPublicKey(req.PublicKey)
	if err != nil {
		i.t.Error(err)
	}
	i.keys = append(i.keys, string(public))
	i.generation++
	id, err := url.Parse("spiffe://example.com/cluster/east/gateway/00112233445566778899aabbccddeeff")
	if err != nil {
		i.t.Error(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(i.generation + 1), Subject: pkix.Name{SerialNumber: "i"}, URIs: []*url.URL{id},
		NotBefore: now, NotAfter: now.Add(i.life), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if i.life < 0 { // one that has ended already
		template.NotBefore = now.Add(2 * i.life)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, req.PublicKey, i.key)
	if err != nil {
		i.t.Error(err)
	}
	return control.Certificate{
		Chain: certificatePEM(der), Roots: i.rootsPEM(), Generation: i.generation, Pseudonym: "pseudonym",
		Hubs: []control.Hub{{Name: "hub-a", Address: "192.0.2.1:8443"}},
	}
}

// joinHub is a hub's join endpoint over TLS, with tokens that it knows.
type joinHub struct {
	*issuer
	server *httptest.Server
	bundle control.Bundle

	mu     sync.Mutex
	tokens map[string]bool // true: not yet redeemed
	// refuse, if set, is the answer to everything.
	refuse func(w http.ResponseWriter)
	// lose, if set, cuts the connection after the hub has done its work.
	lose     bool
	joins    []control.JoinRequest
	recovers []control.RecoverRequest
}

func newJoinHub(t *testing.T) *joinHub {
	t.Helper()
	ca := tunneltest.NewCA(t, "example.com")
	h := &joinHub{issuer: newIssuer(t), tokens: map[string]bool{}}
	h.server = httptest.NewUnstartedServer(h)
	h.server.Listener = tls.NewListener(h.server.Listener, tunnel.JoinServerTLS(ca.Hub("hubs")))
	h.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.server.Start()
	h.server.URL = strings.Replace(h.server.URL, "http:", "https:", 1)
	t.Cleanup(h.server.Close)
	h.bundle = control.Bundle{
		APIVersion: control.BundleVersion, Cluster: "east", Join: []string{h.server.URL + "/"}, CAPin: ca.Pin(), TrustDomain: "example.com",
	}
	return h
}

// register makes a bundle with a new token and writes it to a file.
func (h *joinHub) register(t *testing.T, token, file string) {
	t.Helper()
	h.mu.Lock()
	h.tokens[token] = true
	h.mu.Unlock()
	b := h.bundle
	b.Token, b.Expires = token, time.Now().Add(time.Minute)
	writeJSONFile(t, file, b)
}

func writeJSONFile(t *testing.T, file string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *joinHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		h.refuse(w)
		return
	}
	var csr string
	switch r.URL.Path {
	case control.PathJoin:
		var in control.JoinRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			h.t.Error(err)
		}
		h.joins = append(h.joins, in)
		if !h.tokens[in.Token] && !h.lose {
			refusal(http.StatusForbidden, "token-used", "the token was redeemed already", "ask for a new bundle")(w)
			return
		}
		h.tokens[in.Token] = h.lose // the hub takes the same key again; that is registry's own test
		csr = in.CSR
	case control.PathRecover:
		var in control.RecoverRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			h.t.Error(err)
		}
		h.recovers = append(h.recovers, in)
		block, _ := pem.Decode([]byte(in.Certificate))
		old, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			h.t.Error(err)
			return
		}
		signature, err := base64.StdEncoding.DecodeString(in.Signature)
		digest := sha256.Sum256([]byte("penstock recover v1\n" + in.CSR))
		if err != nil || !ecdsa.VerifyASN1(old.PublicKey.(*ecdsa.PublicKey), digest[:], signature) {
			h.t.Errorf("the request to recover is not signed by the key of the old certificate: %v", err)
		}
		csr = in.CSR
	default:
		h.t.Errorf("a call of %s", r.URL.Path)
	}
	answer := h.issue(csr)
	if h.lose {
		panic(http.ErrAbortHandler)
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		h.t.Error(err)
	}
}

// refusal is an answer of a hub that has decided.
func refusal(status int, code, message, remedy string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": code, "message": message, "remedy": remedy})
	}
}

// issued is an identity with a certificate of i, in a folder of the test.
func (i *issuer) issued() *identity {
	i.t.Helper()
	r := record{Instance: "i", TrustDomain: "example.com"}
	key, csr, err := r.request()
	if err != nil {
		i.t.Fatal(err)
	}
	id := &identity{file: filepath.Join(i.t.TempDir(), "identity.json"), now: time.Now, post: noPost(i.t)}
	if err := id.take(r, key, i.issue(csr)); err != nil {
		i.t.Fatal(err)
	}
	return id
}
