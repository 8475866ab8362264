package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"penstock.dev/penstock/tunnel"
)

// admitWait bounds the one look past the watch that Admit takes for a group it does not know: the watch may be some
// milliseconds behind the replica that minted it.
const admitWait = 100 * time.Millisecond

// ownCertificate is this replica's certificate; immutable.
type ownCertificate struct {
	tls *tls.Certificate // the chain with the root: a spoke that joins knows only the root's pin
	ca  *authority       // that issued it
	// half of its life is over.
	half time.Time
}

// Group is the hub's gateway group id, one per catalog.
func (r *Registry) Group() string { return r.group }

// ID of this hub: spiffe://<trust-domain>/hub/<group>.
func (r *Registry) ID() tunnel.ID {
	return tunnel.ID{TrustDomain: r.cfg.TrustDomain, Role: tunnel.RoleHub, Group: r.group}
}

// Certificate is this replica's own, for tunnels and the join endpoint: a new pointer and a new key each time it is
// renewed.
func (r *Registry) Certificate() (*tls.Certificate, error) { return r.own.Load().tls, nil }

// Roots of the trust bundle. The pool is the same one until the bundle changes.
func (r *Registry) Roots() *x509.CertPool { return r.trust.Load().pool }

// RootsPEM is the trust bundle as gateways get it.
func (r *Registry) RootsPEM() string { return r.trust.Load().pem }

// Pin of the CA that issues now, "sha256:<hex>" of its SubjectPublicKeyInfo.
func (r *Registry) Pin() string { return tunnel.PinOf(r.trust.Load().issuer.cert) }

// JoinTLS is for the listener of JoinHandler.
func (r *Registry) JoinTLS() *tls.Config { return tunnel.JoinServerTLS(r) }

// renewOwn issues this replica's certificate. It needs no catalog, so that a replica outlives its certificate's life
// while the catalog is away; such serials are therefore not recorded.
func (r *Registry) renewOwn(now time.Time) error {
	ca := r.trust.Load().issuer
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("registry: make this replica's key: %w", err)
	}
	i, err := ca.issue(leaf{id: r.ID(), instance: r.cfg.Name, life: r.cfg.Life, server: true}, key.Public(), now)
	if err != nil {
		return err
	}
	r.own.Store(&ownCertificate{
		tls:  &tls.Certificate{Certificate: [][]byte{i.cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: i.cert},
		ca:   ca,
		half: now.Add(i.cert.NotAfter.Sub(now) / 2),
	})
	r.log.Info("issued this replica's certificate", "id", r.ID().String(), "serial", i.serial, "notAfter", i.cert.NotAfter)
	return nil
}

// keepOwn renews at half-life, a little early by chance so that replicas do not do it all at once, and soon after the CA
// was changed.
func (r *Registry) keepOwn(ctx context.Context) {
	rotated := make(chan struct{}, 1)
	r.OnChange(func() {
		if r.trust.Load().issuer != r.own.Load().ca {
			select {
			case rotated <- struct{}{}:
			default:
			}
		}
	})
	for {
		wait := time.Until(r.own.Load().half)
		wait -= mathrand.N(r.cfg.Life/20 + 1)
		t := time.NewTimer(max(wait, time.Second))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-rotated:
			t.Stop()
		case <-t.C:
		}
		if err := r.renewOwn(time.Now()); err != nil {
			r.log.Error("could not renew this replica's certificate; trying again", "error", err)
		}
	}
}

// Admit refuses a peer that Gone names, one whose cluster is not registered, and one of another role than its Cluster
// says. It looks past the watch once, at most 100 ms, for a group it does not know.
func (r *Registry) Admit(p tunnel.Peer) error {
	reason, state := r.judge(p)
	if state == stranger {
		ctx, cancel := context.WithTimeout(context.Background(), admitWait)
		defer cancel()
		if r.learn(ctx, p) {
			reason, state = r.judge(p)
		}
	}
	if state != member {
		return fmt.Errorf("registry: refused %s instance %s: %s", p.ID, p.Instance, reason)
	}
	return nil
}

// Gone reports whether a peer that was admitted must be cut off, and why: revoked, suspended, locked, replaced or
// deleted. It answers from memory.
func (r *Registry) Gone(p tunnel.Peer) (reason string, gone bool) {
	reason, state := r.judge(p)
	return reason, state != member
}
