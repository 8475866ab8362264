package registry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel"
)

func TestRenewGoesOnForAsLongAsItLikes(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		hubs := []*Registry{w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))}
		g := w.join(hubs[0], w.register(hubs[0], "east"), "pod-1")
		first := g.peer()
		serials := map[string]bool{first.Serial: true}
		for i := range int64(100) {
			pass(30 * time.Minute)
			if err := g.renew(hubs[i%2]); err != nil {
				t.Fatalf("renewal %d: %v", i, err)
			}
			if p := g.peer(); g.last.Generation != i+2 || serials[p.Serial] || p.ID != first.ID || p.Instance != first.Instance {
				t.Fatalf("renewal %d gave generation %d and peer %+v, want %d and the same gateway with a new serial", i, g.last.Generation, p, i+2)
			}
			serials[g.peer().Serial] = true
			for _, r := range hubs {
				wantStanding(t, "the renewed gateway", r, g.peer(), true)
			}
		}
	})
}

func TestRenewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, w *world, r *Registry, g *gateway, p *tunnel.Peer, req *control.RenewRequest)
		want   Code
		locked bool
	}{
		{
			"nothing when the generation is the recorded one",
			func(*testing.T, *world, *Registry, *gateway, *tunnel.Peer, *control.RenewRequest) {}, "", false,
		},
		{
			"an older generation, and locks the instance",
			func(_ *testing.T, _ *world, _ *Registry, _ *gateway, _ *tunnel.Peer, req *control.RenewRequest) {
				req.Generation--
			},
			InstanceLocked, true,
		},
		{
			"generation 0, and locks the instance",
			func(_ *testing.T, _ *world, _ *Registry, _ *gateway, _ *tunnel.Peer, req *control.RenewRequest) {
				req.Generation = 0
			}, InstanceLocked, true,
		},
		{
			"the key of the last certificate",
			func(t *testing.T, _ *world, _ *Registry, g *gateway, _ *tunnel.Peer, req *control.RenewRequest) {
				req.CSR = csrOf(t, g.key)
			}, CSRRefused, false,
		},
		{
			"a bad certificate request",
			func(_ *testing.T, _ *world, _ *Registry, _ *gateway, _ *tunnel.Peer, req *control.RenewRequest) {
				req.CSR = "x"
			},
			CSRRefused, false,
		},
		{
			"an instance that never joined",
			func(_ *testing.T, _ *world, _ *Registry, _ *gateway, p *tunnel.Peer, _ *control.RenewRequest) {
				p.Instance = "pod-9"
			}, InstanceUnknown, false,
		},
		{
			"a gateway group that nobody has",
			func(_ *testing.T, _ *world, _ *Registry, _ *gateway, p *tunnel.Peer, _ *control.RenewRequest) {
				p.Group = newGroup()
			}, ClusterRevoked, false,
		},
		{
			"a cluster that nobody registered",
			func(_ *testing.T, _ *world, _ *Registry, _ *gateway, p *tunnel.Peer, _ *control.RenewRequest) {
				p.Cluster = "north"
			}, ClusterUnknown, false,
		},
		{
			"a suspended cluster",
			func(t *testing.T, _ *world, r *Registry, _ *gateway, _ *tunnel.Peer, _ *control.RenewRequest) {
				if err := r.Suspend(t.Context(), "east"); err != nil {
					t.Fatal(err)
				}
			}, ClusterSuspended, false,
		},
		{
			"a revoked cluster",
			func(t *testing.T, _ *world, r *Registry, _ *gateway, _ *tunnel.Peer, _ *control.RenewRequest) {
				if err := r.Revoke(t.Context(), "east"); err != nil {
					t.Fatal(err)
				}
			}, ClusterRevoked, false,
		},
		{
			"a certificate of the wrong role",
			func(t *testing.T, w *world, _ *Registry, _ *gateway, _ *tunnel.Peer, _ *control.RenewRequest) {
				w.apply(t, "east", `{"spec":{"role":"hub"}}`)
			}, CertRefused, false,
		},
		{
			"everything while the catalog is away, but locks nobody",
			func(t *testing.T, w *world, _ *Registry, _ *gateway, _ *tunnel.Peer, _ *control.RenewRequest) {
				w.catalog.Fail(true)
				t.Cleanup(func() { w.catalog.Fail(false) })
			}, Unavailable, false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r := w.run(w.replica("hub-0"))
				g := w.join(r, w.register(r, "east"), "pod-1")
				if err := g.renew(r); err != nil {
					t.Fatal(err)
				}
				p := g.peer()
				req := control.RenewRequest{CSR: csrOf(t, newKey(t)), Generation: g.last.Generation}
				tt.change(t, w, r, g, &p, &req)
				_, err := r.Renew(t.Context(), p, req)
				wantCode(t, "Renew", err, tt.want)
				if reason, gone := r.Gone(g.peer()); tt.locked && (!gone || !strings.Contains(reason, "locked")) {
					t.Errorf("Gone = %q, %v, want locked", reason, gone)
				}
			})
		})
	}
}

func TestALostAnswerDoesNotLock(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		l := &lossy{Catalog: w.catalog}
		r := w.run(w.replica("hub-0", func(c *Config) { c.Catalog = l }))
		g := w.join(r, w.register(r, "east"), "pod-1")
		key := newKey(t)
		for range 3 { // however often it is lost
			l.loseNext()
			_, err := r.Renew(t.Context(), g.peer(), control.RenewRequest{CSR: csrOf(t, key), Generation: 1})
			wantCode(t, "Renew with a lost answer", err, Unavailable)
		}
		c, err := r.Renew(t.Context(), g.peer(), control.RenewRequest{CSR: csrOf(t, key), Generation: 1})
		if err != nil || c.Generation != 2 {
			t.Fatalf("Renew again = generation %d, %v, want 2", c.Generation, err)
		}
		wantStanding(t, "the certificate before", r, g.peer(), true)
		g.key = key
		g.take(c)
		wantStanding(t, "the new certificate", r, g.peer(), true)
		if err := g.renew(r); err != nil {
			t.Errorf("the renewal after it: %v", err)
		}
	})
}

// F-36.
func TestAClonedInstanceLocksBoth(t *testing.T) {
	for _, tt := range []struct {
		name  string
		order func(t *testing.T, r *Registry, honest, clone *gateway) error
	}{
		{"when the honest one renews first", func(t *testing.T, r *Registry, honest, clone *gateway) error {
			if err := honest.renew(r); err != nil {
				t.Fatal(err)
			}
			return clone.renew(r)
		}},
		{"when the clone renews first", func(t *testing.T, r *Registry, honest, clone *gateway) error {
			if err := clone.renew(r); err != nil {
				t.Fatal(err)
			}
			return honest.renew(r)
		}},
		{"when the clone lies about its generation", func(t *testing.T, r *Registry, honest, clone *gateway) error {
			clone.last.Generation = 1000
			if err := clone.renew(r); err != nil {
				t.Fatal(err)
			}
			return honest.renew(r)
		}},
		{"when the clone uses the join endpoint", func(t *testing.T, r *Registry, honest, clone *gateway) error {
			if err := honest.renew(r); err != nil {
				t.Fatal(err)
			}
			_, err := r.Reissue(t.Context(), clone.recoverRequest(newKey(t)))
			return err
		}},
		{"when the clone uses the join endpoint with the right generation", func(t *testing.T, r *Registry, honest, clone *gateway) error {
			if err := honest.renew(r); err != nil {
				t.Fatal(err)
			}
			clone.last.Generation++
			_, err := r.Reissue(t.Context(), clone.recoverRequest(newKey(t)))
			return err
		}},
		{"when the clone lies about its generation at the join endpoint", func(t *testing.T, r *Registry, honest, clone *gateway) error {
			if err := honest.renew(r); err != nil {
				t.Fatal(err)
			}
			clone.last.Generation = 1000
			_, err := r.Reissue(t.Context(), clone.recoverRequest(newKey(t)))
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r, other := w.run(w.replica("hub-0")), w.run(w.replica("hub-1"))
				b := w.register(r, "east")
				honest := w.join(r, b, "pod-1")
				b2, err := r.Recover(t.Context(), "east", 0)
				if err != nil {
					t.Fatal(err)
				}
				bystander := w.join(r, b2, "pod-2")
				clone := honest.clone()
				cut := make(chan struct{}, 100)
				other.OnChange(func() { cut <- struct{}{} })
				pass(30 * time.Minute)

				wantCode(t, "the second of two renewals", tt.order(t, r, honest, clone), InstanceLocked)
				synctest.Wait()
				if len(cut) == 0 {
					t.Error("the other replica was not told to look")
				}
				for _, hub := range []*Registry{r, other} {
					wantStanding(t, "the honest one", hub, honest.peer(), false)
					wantStanding(t, "the clone", hub, clone.peer(), false)
					wantStanding(t, "another instance of the group", hub, bystander.peer(), true)
				}
				wantCode(t, "a renewal while locked", honest.renew(other), InstanceLocked)
				info, err := other.Show(t.Context(), "east")
				if err != nil || len(info.Instances) != 2 || !info.Instances[0].Locked.Equal(time.Now()) || info.Instances[0].Reason == "" {
					t.Errorf("Show = %+v, %v, want pod-1 locked now, with a reason", info.Instances, err)
				}

				// The way back: a new bundle, and nothing of before counts any more.
				b, err = r.Recover(t.Context(), "east", 0)
				if err != nil {
					t.Fatal(err)
				}
				again := w.join(r, b, "pod-1")
				synctest.Wait()
				for _, hub := range []*Registry{r, other} {
					wantStanding(t, "the instance that joined anew", hub, again.peer(), true)
					wantStanding(t, "its certificate of before", hub, honest.peer(), false)
					wantStanding(t, "its clone's certificate", hub, clone.peer(), false)
				}
				if err := again.renew(other); err != nil {
					t.Errorf("renewal after joining anew: %v", err)
				}
				if again.peer().Group != bystander.peer().Group {
					t.Error("joining anew changed the group")
				}
			})
		})
	}
}

func TestReissueTakesAnExpiredCertificate(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"Ed25519": ed, "ECDSA P-384": p384, "ECDSA P-256": newKey(t)} {
		t.Run("of an "+name+" key", func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r := w.run(w.replica("hub-0"))
				b := w.register(r, "east")
				c, err := r.Join(t.Context(), control.JoinRequest{Cluster: "east", Token: b.Token, Instance: "pod-1", CSR: csrOf(t, key)})
				if err != nil {
					t.Fatal(err)
				}
				g := &gateway{w: w, name: "pod-1", key: key}
				g.take(c)
				pass(3 * 24 * hour)
				next := newKey(t)
				c, err = r.Reissue(t.Context(), g.recoverRequest(next))
				if err != nil || c.Generation != 2 {
					t.Fatalf("Reissue = generation %d, %v, want 2", c.Generation, err)
				}
				again, err := r.Reissue(t.Context(), g.recoverRequest(next))
				if err != nil || again.Generation != 2 {
					t.Fatalf("Reissue after a lost answer = generation %d, %v, want 2", again.Generation, err)
				}
				old := g.peer()
				g.key = next
				g.take(again)
				if p := g.peer(); p.ID != old.ID || p.Instance != old.Instance {
					t.Errorf("reissued for %+v, want %+v", p, old)
				}
				wantStanding(t, "the gateway", r, g.peer(), true)
				if err := g.renew(r); err != nil {
					t.Errorf("renewal after it: %v", err)
				}
			})
		})
	}
}

func TestReissueRefuses(t *testing.T) {
	type edit = func(t *testing.T, w *world, r *Registry, g *gateway, req *control.RecoverRequest)
	for _, tt := range []struct {
		name   string
		change edit
		want   Code
		locked bool
	}{
		{"nothing within the window", func(*testing.T, *world, *Registry, *gateway, *control.RecoverRequest) {}, "", false},
		{"nothing at the end of the window", func(*testing.T, *world, *Registry, *gateway, *control.RecoverRequest) {
			pass(7 * 24 * hour)
		}, "", false},
		{"a certificate that ended more than the window ago", func(*testing.T, *world, *Registry, *gateway, *control.RecoverRequest) {
			pass(7*24*hour + time.Second)
		}, WindowPassed, false},
		{"a signature over another request", func(t *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.CSR = csrOf(t, newKey(t))
		}, CertRefused, false},
		{"a signature by another key", func(t *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Signature = recoverSignature(t, newKey(t), req.CSR)
		}, CertRefused, false},
		{"no signature", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Signature = ""
		}, CertRefused, false},
		{"a signature that is not base64", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Signature = "%"
		}, CertRefused, false},
		{"a signature over the plain request, as for another purpose", func(t *testing.T, _ *world, _ *Registry, g *gateway, req *control.RecoverRequest) {
			sig, err := g.key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			req.Signature = base64.StdEncoding.EncodeToString(sig)
		}, CertRefused, false},
		{"a certificate of another CA", func(t *testing.T, _ *world, _ *Registry, g *gateway, req *control.RecoverRequest) {
			ca, err := newAuthority("example.com", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			i, err := ca.issue(leaf{id: g.peer().ID, instance: g.name, life: hour}, g.key.Public(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			req.Certificate = i.chain()
		}, CertRefused, false},
		{"the hub's own certificate", func(t *testing.T, _ *world, r *Registry, g *gateway, req *control.RecoverRequest) {
			own, err := r.Certificate()
			if err != nil {
				t.Fatal(err)
			}
			req.Certificate = string(encodePEM(own.Leaf.Raw))
			req.Signature = recoverSignature(t, own.PrivateKey.(crypto.Signer), req.CSR)
		}, ClusterUnknown, false},
		{"the CA's certificate", func(t *testing.T, _ *world, r *Registry, g *gateway, req *control.RecoverRequest) {
			ca := r.trust.Load().issuer
			req.Certificate = string(encodePEM(ca.cert.Raw))
			req.Signature = recoverSignature(t, ca.key, req.CSR)
		}, CertRefused, false},
		{"what is no certificate", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Certificate = "x"
		}, CertRefused, false},
		{"two certificates", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Certificate += req.Certificate
		}, CertRefused, false},
		{"a certificate longer than 8 KiB", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Certificate += strings.Repeat("\n", maxCSR)
		}, CertRefused, false},
		{"an older generation, and locks the instance", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.Generation--
		}, InstanceLocked, true},
		{"a certificate before the newest, and locks the instance", func(t *testing.T, _ *world, r *Registry, g *gateway, _ *control.RecoverRequest) {
			if err := g.clone().renew(r); err != nil {
				t.Fatal(err)
			}
		}, InstanceLocked, true},
		{"the key of the expired certificate", func(t *testing.T, _ *world, _ *Registry, g *gateway, req *control.RecoverRequest) {
			*req = g.recoverRequest(g.key)
		}, CSRRefused, false},
		{"a bad certificate request", func(_ *testing.T, _ *world, _ *Registry, _ *gateway, req *control.RecoverRequest) {
			req.CSR = "x"
		}, CSRRefused, false},
		{"a revoked cluster", func(t *testing.T, _ *world, r *Registry, _ *gateway, _ *control.RecoverRequest) {
			if err := r.Revoke(t.Context(), "east"); err != nil {
				t.Fatal(err)
			}
		}, ClusterRevoked, false},
		{"a suspended cluster", func(t *testing.T, _ *world, r *Registry, _ *gateway, _ *control.RecoverRequest) {
			if err := r.Suspend(t.Context(), "east"); err != nil {
				t.Fatal(err)
			}
		}, ClusterSuspended, false},
		{"everything while the catalog is away", func(t *testing.T, w *world, _ *Registry, _ *gateway, _ *control.RecoverRequest) {
			w.catalog.Fail(true)
			t.Cleanup(func() { w.catalog.Fail(false) })
		}, Unavailable, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				// Nobody deletes what has expired, so that it is the window that refuses.
				r := w.run(w.replica("hub-0", func(c *Config) { c.Elected = func() bool { return false } }))
				g := w.join(r, w.register(r, "east"), "pod-1")
				if err := g.renew(r); err != nil {
					t.Fatal(err)
				}
				pass(hour) // expired from now on
				req := g.recoverRequest(newKey(t))
				tt.change(t, w, r, g, &req)
				_, err := r.Reissue(t.Context(), req)
				wantCode(t, "Reissue", err, tt.want)
				w.checkError(err)
				if reason, _ := r.Gone(g.peer()); tt.locked && !strings.Contains(reason, "locked") {
					t.Errorf("Gone = %q, want locked", reason)
				}
			})
		})
	}
}

func TestACatalogThatWentBackKeepsItsGateways(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		g := w.join(r, w.register(r, "east"), "pod-1")
		backup := w.catalog.Snapshot()
		for range 3 {
			pass(30 * time.Minute)
			if err := g.renew(r); err != nil {
				t.Fatal(err)
			}
		}
		// A hub that starts after the restore has no memory of what was lost.
		late := newRestored(t, w, backup)
		if err := g.renew(late); err != nil || g.last.Generation != 5 {
			t.Errorf("renewal = generation %d, %v, want 5", g.last.Generation, err)
		}
		late = newRestored(t, w, backup)
		pass(2 * hour)
		if c, err := late.Reissue(t.Context(), g.recoverRequest(newKey(t))); err != nil || c.Generation != 6 {
			t.Errorf("Reissue = generation %d, %v, want 6", c.Generation, err)
		}
	})
}

// newRestored is a hub on a catalog of its own, made from a backup.
func newRestored(t *testing.T, w *world, backup catalogSnapshot) *Registry {
	t.Helper()
	return w.run(w.replica("hub-late", func(c *Config) { c.Catalog = restored(backup) }))
}
