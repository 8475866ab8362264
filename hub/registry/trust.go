package registry

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// root is one caRecord, opened. authority is nil for a root that does not issue, or whose key this replica cannot open:
// it is trusted all the same.
type root struct {
	cert      *x509.Certificate
	authority *authority
}

// trust is what all roots say together; immutable. A new value means a new trust bundle version or issuer.
type trust struct {
	issuer *authority
	pem    string
	pool   *x509.CertPool
}

// openRoot decodes ca/<n>. A root of another trust domain is not ours, however it came there.
func (r *Registry) openRoot(rec catalog.Record) (root, error) {
	v, err := decode[caRecord](rec)
	if err != nil {
		return root{}, err
	}
	cert, err := parsePEM(v.Certificate)
	if err != nil || !cert.IsCA {
		return root{}, fmt.Errorf("registry: record %s holds no CA certificate", rec.Key)
	}
	if want := "spiffe://" + r.cfg.TrustDomain; len(cert.URIs) != 1 || cert.URIs[0].String() != want {
		return root{}, fmt.Errorf("registry: the CA in %s is not of %s; a catalog has one trust domain: use its name, or another catalog prefix", rec.Key, want)
	}
	if !v.Issuing {
		return root{cert, nil}, nil
	}
	plain, err := r.cfg.Sealer.Open(rec.Key, v.Key)
	if err != nil {
		r.log.Error("cannot open the CA key; this replica needs the key ring of the others", "key", rec.Key, "error", err)
		return root{cert, nil}, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(plain)
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok || !slices.Equal(spki(signer.Public()), cert.RawSubjectPublicKeyInfo) {
		return root{}, fmt.Errorf("registry: the key in %s is not the key of its certificate", rec.Key)
	}
	return root{cert, &authority{cert, signer}}, nil
}

// trustChanged makes the trust value anew if the roots have changed. Without any issuer left the old one stays.
func (r *Registry) trustChanged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.trust.Load()
	if old == nil {
		old = &trust{pool: x509.NewCertPool()}
	}
	next := &trust{issuer: old.issuer, pool: x509.NewCertPool()}
	var text strings.Builder
	var issuer *authority
	for _, root := range sorted(r.cas.all()) {
		text.Write(encodePEM(root.cert.Raw))
		next.pool.AddCert(root.cert)
		if root.authority != nil {
			issuer = root.authority
		}
	}
	if issuer != nil && (old.issuer == nil || !issuer.cert.Equal(old.issuer.cert)) {
		next.issuer = issuer
	}
	next.pem = text.String()
	if next.pem == old.pem {
		next.pool = old.pool
		if next.issuer == old.issuer {
			next = old
		}
	}
	r.trust.Store(next)
}

// found makes what a catalog has once: the CA, the hub's group id, the trust domain's keys. Whoever commits first has
// made it; all others find it there.
func (r *Registry) found(ctx context.Context) error {
	now := time.Now()
	ca, err := newAuthority(r.cfg.TrustDomain, now)
	if err != nil {
		return err
	}
	caKey := catalog.CAKey(1)
	rec, err := ca.record(r.cfg.Sealer, caKey)
	if err != nil {
		return err
	}
	ops := []catalog.Op{{Key: caKey, Value: encode(rec), If: catalog.Absent}}
	for purpose, plain := range map[string][]byte{
		purposeGroup:  []byte(newGroup()),
		purposeDomain: random(32),
		purposeMAC:    encode(macRecord{Current: random(32), Rotated: now}),
	} {
		key := catalog.PurposeKey(purpose)
		sealed, err := r.cfg.Sealer.Seal(key, plain)
		if err != nil {
			return fmt.Errorf("registry: seal %s: %w", key, err)
		}
		ops = append(ops, catalog.Op{Key: key, Value: sealed, If: catalog.Absent})
	}
	_, err = r.cfg.Catalog.Commit(ctx, ops...)
	if errors.Is(err, catalog.ErrConflict) {
		return nil
	}
	if err != nil {
		return stored("store the new CA", err)
	}
	r.log.Info("made a new CA", "trustDomain", r.cfg.TrustDomain, "pin", tunnel.PinOf(ca.cert))
	return nil
}
