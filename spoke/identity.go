package spoke

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel"
)

// record is the file identity.json, 0600: all that a spoke must remember over a restart. It holds the private key of
// this process and nothing of anybody else.
type record struct {
	Instance    string `json:"instance"`
	Key         string `json:"key,omitempty"` // PKCS #8, PEM
	Certificate string `json:"certificate,omitempty"`
	// NextKey is the key of the request for a certificate that is on its way. It is kept before the request is sent: if
	// the answer is lost, the hub takes the same key again, and another one for a clone.
	NextKey    string        `json:"nextKey,omitempty"`
	Roots      string        `json:"roots"`
	Generation int64         `json:"generation"`
	Hubs       []control.Hub `json:"hubs"`
	Pseudonym  string        `json:"pseudonym"`
	// Join, CAPin and TrustDomain are those of the bundle, for recovery after expiry.
	Join        []string `json:"join"`
	CAPin       string   `json:"caPin"`
	TrustDomain string   `json:"trustDomain"`
	// TokenHash of the bundle that was redeemed: another bundle means that the operator wants a new registration.
	TokenHash string `json:"tokenHash"`
}

// held is a record in usable form. It is never changed.
type held struct {
	record
	certificate tls.Certificate
	id          tunnel.ID
	roots       *x509.CertPool
	since       time.Time // when this process began to use the certificate
}

// renewAt is when half of the certificate's life is over, as far as this process has seen it: NotBefore is backdated, so
// it says nothing about when the life began.
func (h *held) renewAt() time.Time { return h.since.Add(h.left() / 2) }

// left is what the certificate had to live when this process began to use it.
func (h *held) left() time.Duration { return max(h.certificate.Leaf.NotAfter.Sub(h.since), 0) }

// identity is the spoke's certificate: joined with a bundle, renewed over the tunnel, recovered after expiry. It
// implements tunnel.Identity and is safe for concurrent use.
type identity struct {
	file    string
	current atomic.Pointer[held]
	writing sync.Mutex
	// post is the call to a join endpoint; tests replace it.
	post func(ctx context.Context, url string, tlsConfig *tls.Config, in, out any) error
	now  func() time.Time
}

// loadIdentity reads the state folder, or joins with the bundle, or recovers an expired certificate.
func loadIdentity(ctx context.Context, stateDir, bundleFile string) (*identity, error) {
	id := &identity{file: filepath.Join(stateDir, "identity.json"), post: postJSON, now: time.Now}
	data, err := os.ReadFile(id.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if bundleFile == "" {
			return nil, fmt.Errorf("spoke: %s does not exist and parent.bundle is not set: run `penstock cluster register NAME` at the hub and name its output in parent.bundle", id.file)
		}
		return id, id.join(ctx, bundleFile, record{})
	case err != nil:
		return nil, fmt.Errorf("spoke: read identity: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("spoke: %s: %w; remove the file and join with a new bundle", id.file, err)
	}
	if r.Certificate == "" { // a join whose answer never came
		return id, id.join(ctx, bundleFile, r)
	}
	h, err := hold(r)
	if err != nil {
		return nil, fmt.Errorf("spoke: %s: %w; remove the file and join with a new bundle", id.file, err)
	}
	id.current.Store(h)
	if again, err := newBundle(bundleFile, r.TokenHash); err != nil {
		return nil, err
	} else if again {
		return id, id.join(ctx, bundleFile, record{})
	}
	if id.now().After(h.certificate.Leaf.NotAfter) {
		return id, id.recover(ctx)
	}
	return id, nil
}

// newBundle reports whether the file holds a bundle other than the one that was redeemed, and one still in time.
func newBundle(file, redeemed string) (bool, error) {
	if file == "" {
		return false, nil
	}
	b, err := readBundle(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a bundle is needed once; it may be deleted after
	}
	if err != nil {
		return false, err
	}
	return tokenHash(b.Token) != redeemed && time.Now().Before(b.Expires), nil
}

func readBundle(file string) (control.Bundle, error) {
	var b control.Bundle
	data, err := os.ReadFile(file)
	if err != nil {
		return b, fmt.Errorf("spoke: read join bundle: %w", err)
	}
	if err := json.Unmarshal(data, &b); err != nil || b.APIVersion != control.BundleVersion {
		return b, fmt.Errorf("spoke: %s is not a join bundle (%s): write the output of `penstock cluster register NAME --out FILE`", file, control.BundleVersion)
	}
	return b, nil
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// join redeems the bundle's token for a first certificate. begun is an earlier try with the same token whose answer was
// lost, or the zero record.
func (id *identity) join(ctx context.Context, file string, begun record) error {
	b, err := readBundle(file)
	if err != nil {
		return err
	}
	r := begun
	if r.TokenHash != tokenHash(b.Token) {
		instance := make([]byte, 16)
		if _, err := rand.Read(instance); err != nil {
			return err
		}
		r = record{Instance: hex.EncodeToString(instance), TokenHash: tokenHash(b.Token)}
	}
	r.Join, r.CAPin, r.TrustDomain = b.Join, b.CAPin, b.TrustDomain
	key, csr, err := r.request()
	if err != nil {
		return err
	}
	if id.current.Load() == nil { // else the certificate of before stays usable until there is another
		if err := id.save(r); err != nil {
			return err
		}
	}
	var answer control.Certificate
	err = id.anyJoin(ctx, r, control.PathJoin, control.JoinRequest{
		Cluster: b.Cluster, Token: b.Token, CSR: csr, Instance: r.Instance,
	}, &answer)
	if err != nil {
		return fmt.Errorf("spoke: join as cluster %s: %w", b.Cluster, err)
	}
	return id.take(r, key, answer)
}

// recover renews an expired, unrevoked certificate at the join endpoint.
func (id *identity) recover(ctx context.Context) error {
	key, csr, err := id.next()
	if err != nil {
		return err
	}
	h := id.current.Load()
	digest := sha256.Sum256([]byte("penstock recover v1\n" + csr))
	old, isEC := h.certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !isEC {
		return fmt.Errorf("spoke: recover: the key in %s is not an EC key; join with a new bundle", id.file)
	}
	signature, err := ecdsa.SignASN1(rand.Reader, old, digest[:])
	if err != nil {
		return fmt.Errorf("spoke: recover: %w", err)
	}
	var answer control.Certificate
	err = id.anyJoin(ctx, h.record, control.PathRecover, control.RecoverRequest{
		Certificate: h.Certificate, CSR: csr, Generation: h.Generation,
		Signature: base64.StdEncoding.EncodeToString(signature),
	}, &answer)
	if err != nil {
		return fmt.Errorf("spoke: our certificate expired %s and was not recovered: %w; run `penstock cluster recover %s` at the hub and join with the new bundle",
			h.certificate.Leaf.NotAfter.Format(time.RFC3339), err, h.id.Cluster)
	}
	return id.take(h.record, key, answer)
}

// anyJoin asks the join endpoints one after the other until one decides; a refusal (4xx) is final.
func (id *identity) anyJoin(ctx context.Context, r record, path string, in, out any) error {
	tlsConfig := tunnel.JoinClientTLS(r.TrustDomain, r.CAPin, id.now)
	err := errors.New("the bundle names no join endpoint")
	for _, base := range r.Join {
		err = id.post(ctx, strings.TrimSuffix(base, "/")+path, tlsConfig, in, out)
		var refused *refusedError
		if err == nil || errors.As(err, &refused) && refused.status < http.StatusInternalServerError {
			return err
		}
	}
	return err
}

// renew asks for the next certificate over a tunnel, with a new key.
func (id *identity) renew(ctx context.Context, rt http.RoundTripper) error {
	key, csr, err := id.next()
	if err != nil {
		return err
	}
	h := id.current.Load()
	var answer control.Certificate
	if err := call(ctx, rt, control.PathRenew, control.RenewRequest{CSR: csr, Generation: h.Generation}, &answer); err != nil {
		return fmt.Errorf("spoke: renew certificate: %w", err)
	}
	return id.take(h.record, key, answer)
}

// take makes a new certificate the current one, on disk first: a crash after the hub has counted the generation must
// not leave us with the old one.
func (id *identity) take(r record, key *ecdsa.PrivateKey, c control.Certificate) error {
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	return id.change(func(now *record) {
		hubs, pseudonym := now.Hubs, now.Pseudonym // what the watch has brought meanwhile
		*now = r
		now.Key, now.NextKey = text, ""
		now.Certificate, now.Roots, now.Generation = c.Chain, c.Roots, c.Generation
		if now.Hubs = hubs; len(c.Hubs) > 0 {
			now.Hubs = c.Hubs
		}
		if now.Pseudonym = pseudonym; c.Pseudonym != "" {
			now.Pseudonym = c.Pseudonym
		}
	})
}

// trust replaces the roots (an event on the watch).
func (id *identity) trust(roots string) error {
	return id.change(func(r *record) { r.Roots = roots })
}

// advertised remembers the hubs for the next start.
func (id *identity) advertised(hubs []control.Hub) error {
	return id.change(func(r *record) { r.Hubs = hubs })
}

// change makes a changed record the current one, on disk first. One that says the same again changes nothing: a hub
// repeats itself with each new watch.
func (id *identity) change(edit func(*record)) error {
	id.writing.Lock()
	defer id.writing.Unlock()
	old := id.current.Load()
	if old == nil {
		old = &held{}
	}
	r := old.record
	edit(&r)
	if reflect.DeepEqual(r, old.record) {
		return nil
	}
	h, err := hold(r)
	if err != nil {
		return fmt.Errorf("spoke: the hub's answer is not usable: %w", err)
	}
	if old.Certificate == r.Certificate {
		h.since = old.since
	}
	if old.Roots == r.Roots {
		h.roots = old.roots // another pool would mean another trust bundle, and so new tunnels
	}
	if err := id.save(r); err != nil {
		return err
	}
	id.current.Store(h)
	return nil
}

func (id *identity) save(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(id.file, data); err != nil {
		return fmt.Errorf("spoke: keep identity: %w", err)
	}
	return nil
}

// next is the key of the next certificate, kept on disk, and a request for it.
func (id *identity) next() (key *ecdsa.PrivateKey, csr string, err error) {
	var made error
	err = id.change(func(r *record) { key, csr, made = r.request() })
	return key, csr, errors.Join(made, err)
}

// hold parses a record.
func hold(r record) (*held, error) {
	cert, err := tls.X509KeyPair([]byte(r.Certificate), []byte(r.Key))
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(r.Roots)) {
		return nil, errors.New("roots: no certificate in PEM")
	}
	if len(cert.Leaf.URIs) != 1 {
		return nil, errors.New("certificate: want one SPIFFE id")
	}
	id, err := tunnel.ParseID(cert.Leaf.URIs[0].String())
	if err != nil {
		return nil, err
	}
	return &held{record: r, certificate: cert, id: id, roots: roots, since: time.Now()}, nil
}

// Certificate implements tunnel.Identity.
func (id *identity) Certificate() (*tls.Certificate, error) {
	return &id.current.Load().certificate, nil
}

// Roots implements tunnel.Identity.
func (id *identity) Roots() *x509.CertPool { return id.current.Load().roots }

// Admit implements tunnel.Identity: only hubs of our trust domain.
func (id *identity) Admit(p tunnel.Peer) error {
	if want := id.current.Load().id.TrustDomain; p.Role != tunnel.RoleHub || p.TrustDomain != want {
		return fmt.Errorf("peer %s is not a hub of trust domain %s", p.ID, want)
	}
	return nil
}

// request makes NextKey if there is none, and a PKCS #10 request that carries its public key and nothing else: the hub
// writes the names.
func (r *record) request() (*ecdsa.PrivateKey, string, error) {
	key, err := decodeKey(r.NextKey)
	if err != nil { // none, or one that nobody can use
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, "", err
		}
		if r.NextKey, err = encodeKey(key); err != nil {
			return nil, "", err
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, "", err
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

func encodeKey(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

func decodeKey(text string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an EC key")
	}
	return ec, nil
}

// writeFile replaces a file as a whole, readable by us alone.
func writeFile(name string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// refusedError is an answer other than 2xx: the hub has decided.
type refusedError struct {
	status                int
	code, message, remedy string
}

func (e *refusedError) Error() string {
	text := e.message
	if text == "" {
		text = http.StatusText(e.status)
	}
	if e.remedy != "" {
		text += "; " + e.remedy
	}
	return text
}

// postJSON calls a join endpoint.
func postJSON(ctx context.Context, url string, tlsConfig *tls.Config, in, out any) error {
	t := &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true, TLSHandshakeTimeout: 10 * time.Second}
	defer t.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return exchange(ctx, t, url, in, out)
}

// call makes a control request inside a tunnel.
func call(ctx context.Context, rt http.RoundTripper, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return exchange(ctx, rt, "https://"+tunnel.ControlAuthority+path, in, out)
}

// exchange posts in as JSON (GET with nil) and reads the answer into out (nil: ignored).
func exchange(ctx context.Context, rt http.RoundTripper, url string, in, out any) error {
	method, body := http.MethodGet, io.Reader(nil)
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		method, body = http.MethodPost, bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode/100 != 2 {
		var e struct{ Code, Message, Remedy string }
		_ = json.Unmarshal(data, &e) // the status alone says enough where the body is not ours
		return &refusedError{status: res.StatusCode, code: e.Code, message: e.Message, remedy: e.Remedy}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}
