package registry

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

func TestJoinWritesTheCertificateItself(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b := w.register(r, "east")
		if want := (control.Bundle{
			APIVersion: control.BundleVersion, Cluster: "east", Token: b.Token, Join: []string{"https://192.0.2.1:8443"},
			CAPin: r.Pin(), TrustDomain: "example.com", Expires: time.Now().Add(15 * time.Minute),
		}); !cmp.Equal(b, want) {
			t.Errorf("bundle differs (-want +got):\n%s", cmp.Diff(want, b))
		}
		if len(b.Token) < len("pjt_")+26 {
			t.Errorf("the token %q has fewer than 128 bits", b.Token)
		}
		key := newKey(t)
		// Everything in this request beside its key is a lie.
		csr := csrFrom(t, &x509.CertificateRequest{
			Subject:     pkix.Name{CommonName: "admin", SerialNumber: "other", Organization: []string{"system:masters"}},
			DNSNames:    []string{"hub.example.com"},
			IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)},
			URIs:        []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/hub/0123"}},
		}, key)
		c, err := r.Join(t.Context(), control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csr})
		if err != nil {
			t.Fatalf("Join: %v", err)
		}
		leaf := parseLeaf(t, c.Chain)
		group := peerOf(t, leaf).Group
		if len(group) != 32 {
			t.Errorf("group id %q, want 128 bits in hex", group)
		}
		if got, want := leaf.URIs[0].String(), "spiffe://example.com/cluster/east/gateway/"+group; got != want {
			t.Errorf("SAN = %s, want %s", got, want)
		}
		if n := len(leaf.DNSNames) + len(leaf.IPAddresses) + len(leaf.EmailAddresses) + len(leaf.URIs); n != 1 {
			t.Errorf("the certificate has %d names, want the SPIFFE id alone", n)
		}
		if got, want := leaf.Subject.String(), "SERIALNUMBER=pod-1"; got != want {
			t.Errorf("subject = %s, want %s", got, want)
		}
		if !cmp.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) || leaf.IsCA {
			t.Errorf("key usage = %v, CA = %v, want client authentication only", leaf.ExtKeyUsage, leaf.IsCA)
		}
		now := time.Now()
		if !leaf.NotBefore.Equal(now.Add(-5*time.Minute)) || !leaf.NotAfter.Equal(now.Add(hour)) {
			t.Errorf("valid from %s to %s, want 5 min ago to 1 h from %s", leaf.NotBefore, leaf.NotAfter, now)
		}
		if n := leaf.SerialNumber.BitLen(); n != 128 {
			t.Errorf("the serial has %d bits, want 128", n)
		}
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: r.Roots(), KeyUsages: leaf.ExtKeyUsage}); err != nil {
			t.Errorf("the certificate does not chain to the roots: %v", err)
		}
		if c.Generation != 1 || c.Roots != r.RootsPEM() || c.Pseudonym != "ps-"+group[:4] {
			t.Errorf("answer: generation %d, pseudonym %s, want 1 and that of the group, with the roots", c.Generation, c.Pseudonym)
		}
		got, _, err := read[serialRecord](t.Context(), w.catalog, catalog.SerialKey(leaf.SerialNumber.Text(16)))
		want := serialRecord{Cluster: "east", Group: group, Instance: "pod-1", Generation: 1, NotAfter: leaf.NotAfter}
		if err != nil || got != want {
			t.Errorf("recorded serial = %+v, %v, want %+v", got, err, want)
		}
		wantStanding(t, "a gateway that joined", r, peerOf(t, leaf), true)
	})
}

func TestJoinTakesTheseKeys(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	good := csrOf(t, newKey(t))
	// The last byte of a request is of its signature.
	forged := []byte(good)
	at := strings.Index(good, "\n-----END") - 3
	forged[at] ^= 1
	for _, tt := range []struct {
		name string
		csr  string
		want Code
	}{
		{"ECDSA P-256 is taken", good, ""},
		{"ECDSA P-384 is taken", csrOf(t, p384), ""},
		{"Ed25519 is taken", csrOf(t, ed), ""},
		{"RSA is refused", csrOf(t, weak), CSRRefused},
		{"ECDSA P-224 is refused", csrOf(t, p224), CSRRefused},
		{"a request whose signature was changed is refused", string(forged), CSRRefused},
		{"an empty request is refused", "", CSRRefused},
		{"a certificate is not a request", strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"), CSRRefused},
		{"DER without PEM is refused", "MIIB", CSRRefused},
		{"two requests are refused", good + good, CSRRefused},
		{"text behind the request is refused", good + "x", CSRRefused},
		{"white space behind the request is fine", good + "\n \n", ""},
		{"a request longer than 8 KiB is refused", good + strings.Repeat("\n", maxCSR), CSRRefused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := parseCSR(tt.csr)
			wantCode(t, "parseCSR", err, tt.want)
			if tt.want == "" && (req.public == nil || len(req.key) != 64) {
				t.Errorf("parseCSR = %+v, want a key and its hash", req)
			}
		})
	}
}

func TestJoinRefuses(t *testing.T) {
	type change func(t *testing.T, w *world, r *Registry, req *control.JoinRequest)
	for _, tt := range []struct {
		name   string
		change change
		want   Code
	}{
		{"nothing when all is well", func(*testing.T, *world, *Registry, *control.JoinRequest) {}, ""},
		{"a token that never was", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) {
			req.Token = "pjt_AAAAAAAAAAAAAAAAAAAAAAAAAA"
		}, TokenUnknown},
		{"no token", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) { req.Token = "" }, TokenUnknown},
		{"the token of another cluster, as if it never was", func(_ *testing.T, w *world, r *Registry, req *control.JoinRequest) {
			req.Token = w.register(r, "west").Token
		}, TokenUnknown},
		{"a cluster that does not exist", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) {
			req.Cluster = "north"
		}, TokenUnknown},
		{"a token one second after its end", func(*testing.T, *world, *Registry, *control.JoinRequest) {
			pass(15*time.Minute + time.Second)
		}, TokenExpired},
		{"a token at the moment of its end", func(*testing.T, *world, *Registry, *control.JoinRequest) {
			pass(15 * time.Minute)
		}, TokenExpired},
		{"nothing one second before the token's end", func(*testing.T, *world, *Registry, *control.JoinRequest) {
			pass(15*time.Minute - time.Second)
		}, ""},
		{"a token that was used", func(_ *testing.T, w *world, r *Registry, req *control.JoinRequest) {
			w.join(r, control.Bundle{Cluster: req.Cluster, Token: req.Token}, "first")
		}, TokenUsed},
		{"a token that was used by an instance of the same name", func(_ *testing.T, w *world, r *Registry, req *control.JoinRequest) {
			w.join(r, control.Bundle{Cluster: req.Cluster, Token: req.Token}, req.Instance)
		}, TokenUsed},
		{"a token of before a revocation", func(t *testing.T, _ *world, r *Registry, _ *control.JoinRequest) {
			if err := r.Revoke(t.Context(), "east"); err != nil {
				t.Fatal(err)
			}
		}, ClusterRevoked},
		{"a suspended cluster", func(t *testing.T, _ *world, r *Registry, _ *control.JoinRequest) {
			if err := r.Suspend(t.Context(), "east"); err != nil {
				t.Fatal(err)
			}
		}, ClusterSuspended},
		{"a cluster suspended by its object", func(t *testing.T, w *world, r *Registry, _ *control.JoinRequest) {
			w.apply(t, "east", `{"spec":{"suspended":true}}`)
		}, ClusterSuspended},
		{"a cluster whose object was deleted", func(t *testing.T, w *world, r *Registry, _ *control.JoinRequest) {
			w.deleteObject(t, "east")
		}, ClusterUnknown},
		{"an instance name with a slash", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) {
			req.Instance = "../x"
		}, BadRequest},
		{"an empty instance name", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) { req.Instance = "" }, BadRequest},
		{"an instance name of 65 bytes", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) {
			req.Instance = strings.Repeat("a", 65)
		}, BadRequest},
		{"a cluster name in upper case", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) {
			req.Cluster = "EAST"
		}, BadRequest},
		{"a bad certificate request", func(_ *testing.T, _ *world, _ *Registry, req *control.JoinRequest) { req.CSR = "x" }, CSRRefused},
		{"everything while the catalog is away", func(t *testing.T, w *world, _ *Registry, _ *control.JoinRequest) {
			w.catalog.Fail(true)
			t.Cleanup(func() { w.catalog.Fail(false) })
		}, Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r := w.run(w.replica("hub-0"))
				b := w.register(r, "east")
				req := control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, newKey(t))}
				tt.change(t, w, r, &req)
				_, err := r.Join(t.Context(), req)
				wantCode(t, "Join", err, tt.want)
				w.checkError(err)
				// TH-S4: somebody else may have the token.
				if told := strings.Contains(w.log.String(), "a spent join token was used again"); told != (tt.want == TokenUsed) {
					t.Errorf("the log tells of a spent token: %v, want %v", told, tt.want == TokenUsed)
				}
			})
		})
	}
}

// F-35.
func TestOneOfManyWinsAToken(t *testing.T) {
	const races, racers = 1000, 3
	simulate(t, func(t *testing.T, w *world) {
		// Two replicas: it is the catalog that decides.
		hubs := []*Registry{w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))}
		var csrs [racers]string
		for i := range csrs {
			csrs[i] = csrOf(t, newKey(t))
		}
		first := w.register(hubs[0], "east")
		w.join(hubs[0], first, "pod-0")
		for race := range races {
			b, err := hubs[0].Recover(t.Context(), "east", 0)
			if err != nil {
				t.Fatalf("Recover: %v", err)
			}
			var won [racers]error
			var wg sync.WaitGroup
			for i := range racers {
				wg.Go(func() {
					_, won[i] = hubs[i%2].Join(t.Context(), control.JoinRequest{
						Cluster: "east", Token: b.Token, Instance: fmt.Sprintf("pod-%d-%d", race, i), CSR: csrs[i],
					})
				})
			}
			wg.Wait()
			winners := 0
			for _, err := range won {
				switch codeOf(err) {
				case "":
					winners++
				case TokenUsed:
				default:
					t.Fatalf("race %d: a loser got %v, want TokenUsed", race, err)
				}
			}
			if winners != 1 {
				t.Fatalf("race %d: %d winners, want 1", race, winners)
			}
		}
		recs, _, err := w.catalog.List(t.Context(), catalog.SerialsPrefix)
		if err != nil || len(recs) != races+1 {
			t.Errorf("%d certificates were recorded (%v), want %d", len(recs), err, races+1)
		}
	})
}

func TestFirstJoinsOfAClusterShareOneGroup(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		hubs := []*Registry{w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))}
		bundles := []control.Bundle{w.register(hubs[0], "east")}
		for range 20 {
			b, err := hubs[0].Recover(t.Context(), "east", 0)
			if err != nil {
				t.Fatal(err)
			}
			bundles = append(bundles, b)
		}
		groups := make([]string, len(bundles))
		var wg sync.WaitGroup
		for i, b := range bundles {
			wg.Go(func() { groups[i] = w.join(hubs[i%2], b, fmt.Sprintf("pod-%d", i)).peer().Group })
		}
		wg.Wait()
		for i, g := range groups {
			if g == "" || g != groups[0] {
				t.Errorf("gateway %d has group %q, gateway 0 %q, want one group", i, g, groups[0])
			}
		}
		synctest.Wait()
		info, err := hubs[0].Show(t.Context(), "east")
		if err != nil || len(info.Instances) != len(bundles) {
			t.Errorf("Show has %d instances (%v), want %d", len(info.Instances), err, len(bundles))
		}
	})
}

func TestALostAnswerDoesNotCostTheToken(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		l := &lossy{Catalog: w.catalog}
		r := w.run(w.replica("hub-0", func(c *Config) { c.Catalog = l }))
		b := w.register(r, "east")
		key := newKey(t)
		req := control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, key)}
		l.loseNext()
		_, err := r.Join(t.Context(), req)
		wantCode(t, "Join with a lost answer", err, Unavailable)
		req.CSR = csrOf(t, key) // a request is signed anew, for the same key
		c, err := r.Join(t.Context(), req)
		if err != nil || c.Generation != 1 {
			t.Fatalf("Join again = generation %d, %v, want 1", c.Generation, err)
		}
		synctest.Wait()
		wantStanding(t, "the gateway", r, peerOf(t, parseLeaf(t, c.Chain)), true)
		req.Instance = "pod-2"
		_, err = r.Join(t.Context(), req)
		wantCode(t, "Join with the same key as another instance", err, TokenUsed)
		req.Instance = "pod-1"
		pass(15 * time.Minute)
		_, err = r.Join(t.Context(), req)
		wantCode(t, "Join again after the token's end", err, TokenExpired)
	})
}

func TestARepeatedJoinDoesNotUnlock(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b := w.register(r, "east")
		key := newKey(t)
		req := control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, key)}
		c, err := r.Join(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		g := &gateway{w: w, name: "pod-1", key: key}
		g.take(c)
		clone := g.clone()
		if err := g.renew(r); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "renewal of the clone", clone.renew(r), InstanceLocked)
		_, err = r.Join(t.Context(), req)
		wantCode(t, "Join with the spent token", err, TokenUsed)
		wantStanding(t, "the locked instance", r, g.peer(), false)
	})
}

func TestAChildHubIsAClient(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b, err := r.Register(t.Context(), Registration{Name: "emea", Role: tunnel.RoleHub})
		if err != nil {
			t.Fatal(err)
		}
		w.secret("token", b.Token)
		g := w.join(r, b, "hub-emea-0")
		p := g.peer()
		if p.Role != tunnel.RoleHub || p.Group == r.Group() || p.Cluster != "" {
			t.Errorf("peer = %+v, want a hub with a group of its own", p)
		}
		if !cmp.Equal(g.cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
			t.Errorf("key usage = %v: a child must not pass as a hub to our spokes", g.cert.ExtKeyUsage)
		}
		wantStanding(t, "the child", r, p, true)
		if name, ok := r.Cluster(p); name != "emea" || !ok {
			t.Errorf("Cluster = %q, %v, want emea", name, ok)
		}
		if err := g.renew(r); err != nil {
			t.Errorf("renew: %v", err)
		}
		// The same group as a spoke is another identity, and nobody's.
		forged := p
		forged.Role, forged.Cluster = tunnel.RoleSpoke, "emea"
		wantStanding(t, "the child's group as a spoke", r, forged, false)
		own := tunnel.Peer{ID: r.ID(), Instance: "hub-0", NotAfter: time.Now().Add(hour)}
		wantStanding(t, "the hub itself", r, own, false)
		if err := r.Revoke(t.Context(), "emea"); err != nil {
			t.Fatal(err)
		}
		wantStanding(t, "the revoked child", r, p, false)
	})
}

func FuzzParseCSR(f *testing.F) {
	f.Add("")
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		req, err := parseCSR(text)
		if err != nil {
			if codeOf(err) != CSRRefused {
				t.Fatalf("parseCSR error = %v, want CSRRefused", err)
			}
			return
		}
		// What is accepted can be certified, and has the hash of the key that is certified.
		if got := keyHash(spki(req.public)); got != req.key {
			t.Fatalf("key hash = %s, of the key itself %s", req.key, got)
		}
	})
}
