package registry

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

func TestOwnCertificateIsAHubs(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.replica("hub-0")
		id, err := tunnel.OwnID(r)
		if err != nil || id != r.ID() || id.Role != tunnel.RoleHub || len(id.Group) != 32 {
			t.Errorf("OwnID = %+v, %v, want %+v", id, err, r.ID())
		}
		own, err := r.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		if got := own.Leaf.Subject.SerialNumber; got != "hub-0" {
			t.Errorf("instance = %q, want the replica's name", got)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := own.Leaf.Verify(x509.VerifyOptions{Roots: r.Roots(), KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("not good for usage %v: %v", usage, err)
			}
		}
	})
}

func TestOwnCertificateIsRenewedAtHalfItsLife(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		keys := map[string]bool{}
		for range 24 * 60 {
			cert, err := r.Certificate()
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(cert.Leaf.NotAfter); left < 29*time.Minute {
				t.Fatalf("only %s are left of the certificate, want half an hour", left)
			}
			keys[keyHash(cert.Leaf.RawSubjectPublicKeyInfo)] = true
			pass(time.Minute)
		}
		if n := len(keys); n < 48 || n > 56 {
			t.Errorf("%d keys in a day, want one each half an hour or a little less", n)
		}
	})
}

// A spoke that joins knows the pin of the CA and nothing else.
func TestJoiningSpokeTrustsThePin(t *testing.T) {
	handshake := func(t *testing.T, r *Registry, trustDomain, pin string) error {
		t.Helper()
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		server := tls.Server(far, r.JoinTLS())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = server.HandshakeContext(t.Context()) // its error is the client's
			far.Close()
		}()
		err := tls.Client(near, tunnel.JoinClientTLS(trustDomain, pin, nil)).HandshakeContext(t.Context())
		near.Close()
		<-done
		return err
	}
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b := w.register(r, "east")
		if err := handshake(t, r, b.TrustDomain, b.CAPin); err != nil {
			t.Errorf("handshake with the bundle's pin: %v", err)
		}
		if err := handshake(t, r, b.TrustDomain, "sha256:"+strings.Repeat("0", 64)); err == nil {
			t.Error("handshake with another pin succeeded")
		}
		if err := handshake(t, r, "example.org", b.CAPin); err == nil {
			t.Error("handshake with another trust domain succeeded")
		}
	})
}

// F-34: two roots, then one. What `ca rotate` will write step by step is written by hand here.
func TestTheCAIsReplacedUnderLoad(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		hubs := []*Registry{w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))}
		g := w.join(hubs[0], w.register(hubs[0], "east"), "pod-1")
		oldPin, oldRoots := hubs[1].Pin(), hubs[1].Roots()
		var told atomic.Int32
		hubs[1].OnChange(func() { told.Add(1) })

		second, err := newAuthority("example.com", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		key := catalog.CAKey(2)
		rec, err := second.record(w.sealer, key)
		if err != nil {
			t.Fatal(err)
		}
		write := func(ops ...catalog.Op) {
			t.Helper()
			if _, err := w.catalog.Commit(t.Context(), ops...); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}

		rec.Issuing = false
		write(catalog.Op{Key: key, Value: encode(rec)})
		r := hubs[1]
		if r.Roots() == oldRoots || strings.Count(r.RootsPEM(), "BEGIN") != 2 || r.Pin() != oldPin || told.Load() == 0 {
			t.Fatalf("after step 1: %d roots, pin %s, told %d times, want 2 roots and the old pin", strings.Count(r.RootsPEM(), "BEGIN"), r.Pin(), told.Load())
		}
		two := r.Roots()
		if err := g.renew(r); err != nil || strings.Count(g.last.Roots, "BEGIN") != 2 {
			t.Fatalf("renewal: %v, with %d roots, want 2", err, strings.Count(g.last.Roots, "BEGIN"))
		}

		rec.Issuing = true
		write(catalog.Op{Key: key, Value: encode(rec)})
		if r.Roots() != two {
			t.Error("the pool is a new one although no root came or went")
		}
		own, err := r.Certificate()
		if err != nil || r.Pin() != tunnel.PinOf(second.cert) || own.Leaf.CheckSignatureFrom(second.cert) != nil || len(own.Certificate) != 2 {
			t.Errorf("after step 2: %v, pin %s, own certificate by %s, want all of the new CA", err, r.Pin(), own.Leaf.Issuer)
		}
		wantStanding(t, "a gateway with a certificate of the old CA", r, g.peer(), true)
		if err := g.renew(r); err != nil || g.cert.CheckSignatureFrom(second.cert) != nil {
			t.Errorf("renewal: %v, by %s, want the new CA", err, g.cert.Issuer)
		}

		write(catalog.Op{Key: catalog.CAKey(1), Delete: true})
		for _, r := range hubs {
			if strings.Count(r.RootsPEM(), "BEGIN") != 1 || r.Roots() == two {
				t.Errorf("after step 3 there are %d roots, want 1", strings.Count(r.RootsPEM(), "BEGIN"))
			}
			if _, err := g.cert.Verify(x509.VerifyOptions{Roots: r.Roots(), KeyUsages: g.cert.ExtKeyUsage}); err != nil {
				t.Errorf("the gateway's new certificate: %v", err)
			}
			if _, err := hubs[0].own.Load().tls.Leaf.Verify(x509.VerifyOptions{Roots: r.Roots()}); err != nil {
				t.Errorf("the hub's certificate: %v", err)
			}
		}
	})
}

func TestARootOfAnotherTrustDomainIsNotTrusted(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		before := r.RootsPEM()
		other, err := newAuthority("example.org", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		key := catalog.CAKey(2)
		rec, err := other.record(w.sealer, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.catalog.Commit(t.Context(), catalog.Op{Key: key, Value: encode(rec)}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !cmp.Equal(r.RootsPEM(), before) {
			t.Error("the bundle has a root of another trust domain")
		}
	})
}

func TestServerCertificateIsKnownByName(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		get, err := r.ServerCertificate([]string{"hub.example.com", "192.0.2.1", "2001:db8::1"})
		if err != nil {
			t.Fatal(err)
		}
		first, err := get(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"hub.example.com", "192.0.2.1", "2001:db8::1"} {
			_, err := first.Leaf.Verify(x509.VerifyOptions{Roots: r.Roots(), DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			if err != nil {
				t.Errorf("for %s: %v", name, err)
			}
		}
		if len(first.Leaf.URIs) != 0 || !cmp.Equal(first.Leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
			t.Errorf("it names %v for %v, want no gateway, and a server only", first.Leaf.URIs, first.Leaf.ExtKeyUsage)
		}
		if again, err := get(nil); again != first || err != nil {
			t.Errorf("a second handshake got another certificate (%v)", err)
		}
		pass(31 * time.Minute)
		if next, err := get(nil); next == first || err != nil || next.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(first.Leaf.PublicKey) {
			t.Errorf("after half its life it is still the same certificate or key (%v)", err)
		}
		if _, err := r.ServerCertificate(nil); err == nil {
			t.Error("a certificate for nobody was issued")
		}
	})
}
