package registry

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

// recoverContext separates the signature of a RecoverRequest from all others of that key.
const recoverContext = "penstock recover v1\n"

// Renew gives a peer its next certificate, for a new key each time. The request's generation must be the recorded one.
// An older one means that two processes share a key: the instance is locked, both of them, until it joins anew. Only the
// same key may ask twice, so that a lost answer does not lock an honest gateway; so a gateway must keep the key of a
// request until it has the answer.
func (r *Registry) Renew(ctx context.Context, p tunnel.Peer, req control.RenewRequest) (control.Certificate, error) {
	csr, err := parseCSR(req.CSR)
	if err != nil {
		return control.Certificate{}, err
	}
	return r.next(ctx, p, csr, func(rec instanceRecord) verdict {
		switch {
		case req.Generation > rec.Generation:
			// The catalog came back from a backup. Locking would cost every gateway its identity; and a clone that lies
			// here locks itself out with the honest one's next renewal.
			r.log.Warn("the catalog is behind the generation of a gateway; was it restored?", "id", p.ID.String(),
				"instance", p.Instance, "recorded", rec.Generation, "sent", req.Generation)
			return advance(req.Generation)
		case req.Generation == rec.Generation:
			return advance(rec.Generation)
		case req.Generation == rec.Generation-1 && csr.key == rec.Key:
			return again
		}
		return lock(fmt.Sprintf("generation %d was used after generation %d: two processes may hold one key", req.Generation, rec.Generation))
	})
}

// Reissue gives a gateway whose certificate has expired, no longer than RecoverWindow ago, its next one. The request is
// signed with the expired certificate's key: ECDSA over SHA-256 (ASN.1), or Ed25519 over the 32 bytes of that hash. A
// certificate that is not the newest of its instance locks it, as Renew does.
func (r *Registry) Reissue(ctx context.Context, req control.RecoverRequest) (control.Certificate, error) {
	csr, err := parseCSR(req.CSR)
	if err != nil {
		return control.Certificate{}, err
	}
	p, cert, err := r.proven(req)
	if err != nil {
		return control.Certificate{}, err
	}
	now := time.Now()
	if now.After(cert.NotAfter.Add(r.cfg.RecoverWindow)) {
		name, _ := r.Cluster(p)
		return control.Certificate{}, refuse(WindowPassed, fmt.Sprintf("the certificate expired at %s, more than %s ago",
			cert.NotAfter.UTC().Format(time.RFC3339), r.cfg.RecoverWindow), recoverRemedy(name))
	}
	key := keyHash(cert.RawSubjectPublicKeyInfo)
	return r.next(ctx, p, csr, func(rec instanceRecord) verdict {
		switch {
		case key == rec.Key && req.Generation == rec.Generation:
			return advance(rec.Generation)
		case csr.key == rec.Key && req.Generation == rec.Generation-1:
			return again
		case cert.NotAfter.After(rec.NotAfter) && req.Generation > rec.Generation:
			r.log.Warn("the catalog is behind the generation of a gateway; was it restored?", "id", p.ID.String(),
				"instance", p.Instance, "recorded", rec.Generation, "sent", req.Generation)
			return advance(req.Generation)
		}
		return lock(fmt.Sprintf("an older certificate than that of generation %d was used to recover: two processes may hold one key", rec.Generation))
	})
}

// verdict about a request for the next certificate: a generation that is followed, a repeat, or a lock.
type verdict struct {
	after int64 // the new certificate gets the generation after this one
	again bool
	lock  string
}

var again = verdict{again: true}

func advance(generation int64) verdict { return verdict{after: generation} }
func lock(reason string) verdict       { return verdict{lock: reason} }

// next issues the next certificate of a peer as decide says, which sees the newest record each time.
func (r *Registry) next(ctx context.Context, p tunnel.Peer, csr request, decide func(instanceRecord) verdict) (control.Certificate, error) {
	if err := r.Admit(p); err != nil {
		return control.Certificate{}, r.refusal(p, err)
	}
	cluster, _ := r.Cluster(p)
	key := catalog.InstanceKey(p.Group, p.Instance)
	for range tries {
		rec, revision, err := read[instanceRecord](ctx, r.cfg.Catalog, key)
		if err != nil {
			return control.Certificate{}, err
		}
		switch {
		case revision == catalog.Absent:
			return control.Certificate{}, refuse(InstanceUnknown, "instance "+p.Instance+" of cluster "+cluster+" has not joined", recoverRemedy(cluster))
		case !rec.Locked.IsZero():
			return control.Certificate{}, locked(cluster, p.Instance, rec.Reason)
		}
		v := decide(rec)
		if v.lock != "" {
			err = r.lock(ctx, p, rec, revision, v.lock)
		} else if !v.again && csr.key == rec.Key {
			return control.Certificate{}, refuse(CSRRefused, "the request is for the key of the last certificate", "make a new key for each certificate")
		} else {
			next := rec
			if !v.again {
				next.Generation = v.after + 1
			}
			var c control.Certificate
			if c, err = r.grant(ctx, p.Role, cluster, p.Group, p.Instance, csr, next, revision, nil); err == nil {
				r.log.Info("renewed a certificate", "cluster", cluster, "instance", p.Instance, "generation", next.Generation)
				return c, nil
			}
		}
		if !errors.Is(err, catalog.ErrConflict) {
			return control.Certificate{}, err
		}
	}
	return control.Certificate{}, stored("renew the certificate of "+cluster, catalog.ErrConflict)
}

// lock records the lock and returns the refusal, or catalog.ErrConflict.
func (r *Registry) lock(ctx context.Context, p tunnel.Peer, rec instanceRecord, revision int64, reason string) error {
	rec.Locked, rec.Reason = time.Now(), reason
	rec.Changed = rec.Locked
	key := catalog.InstanceKey(p.Group, p.Instance)
	revision, err := r.cfg.Catalog.Commit(ctx, catalog.Op{Key: key, Value: encode(rec), If: revision})
	if errors.Is(err, catalog.ErrConflict) {
		return err
	}
	if err != nil {
		return stored("lock instance "+p.Instance+" of cluster "+rec.Cluster, err)
	}
	r.instances.put(catalog.Record{Key: key, Value: encode(rec), Revision: revision})
	r.changed()
	r.log.Warn("locked an instance", "cluster", rec.Cluster, "instance", p.Instance, "reason", reason)
	return locked(rec.Cluster, p.Instance, reason)
}

func locked(cluster, instance, reason string) error {
	return refuse(InstanceLocked, "instance "+instance+" of cluster "+cluster+" is locked: "+reason,
		"find out who else has its key; then "+recoverRemedy(cluster))
}

// refusal gives Admit's error the code of its cause.
func (r *Registry) refusal(p tunnel.Peer, err error) error {
	name, ok := r.Cluster(p)
	rec, _ := r.clusters.get(name)
	o, _ := r.objects.get(name)
	inst, _ := r.instances.get(instanceName(p.Group, p.Instance))
	switch {
	case !ok:
		return unknownCluster(p.Cluster)
	case rec.Group != p.Group:
		return revoked(name)
	case o.spec.Suspended || !rec.Suspended.IsZero():
		return suspended(name)
	case !inst.Locked.IsZero():
		return locked(name, p.Instance, inst.Reason)
	}
	return &Error{Code: CertRefused, Message: "the certificate is not good any more", Remedy: recoverRemedy(name), Err: err}
}

// proven checks the certificate of a RecoverRequest and the signature by its key, and returns whom that proves.
func (r *Registry) proven(req control.RecoverRequest) (tunnel.Peer, *x509.Certificate, error) {
	no := func(message string, err error) (tunnel.Peer, *x509.Certificate, error) {
		return tunnel.Peer{}, nil, &Error{
			Code: CertRefused, Message: message, Err: err,
			Remedy: "send the newest certificate of this instance and sign with its key; else get a new bundle: `penstock cluster recover`",
		}
	}
	if len(req.Certificate) > maxCSR {
		return no("the certificate is longer than 8 KiB", nil)
	}
	cert, err := parsePEM(req.Certificate)
	if err != nil {
		return no("the certificate cannot be parsed", err)
	}
	// At a moment when it was valid: that it may have expired is what this is for. Reissue bounds how long ago.
	at := time.Now()
	if at.After(cert.NotAfter) {
		at = cert.NotAfter
	}
	if _, err := cert.Verify(x509.VerifyOptions{
		Roots: r.Roots(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return no("the certificate was not issued by this hub", err)
	}
	if len(cert.URIs) != 1 {
		return no("the certificate names no gateway", nil)
	}
	id, err := tunnel.ParseID(cert.URIs[0].String())
	if err != nil || id.TrustDomain != r.cfg.TrustDomain {
		return no("the certificate names no gateway of this trust domain", err)
	}
	sig, err := base64.StdEncoding.DecodeString(req.Signature)
	if err != nil || !signed(cert.PublicKey, req.CSR, sig) {
		return no("the request is not signed by the certificate's key", nil)
	}
	return tunnel.Peer{ID: id, Instance: cert.Subject.SerialNumber, Serial: serialOf(cert), NotAfter: cert.NotAfter}, cert, nil
}

func signed(public crypto.PublicKey, csr string, sig []byte) bool {
	digest := sha256.Sum256([]byte(recoverContext + csr))
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(k, digest[:], sig)
	}
	return false
}
