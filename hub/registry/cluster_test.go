package registry

import (
	"context"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/tunnel"
)

func TestRegisterMakesTheObject(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		b, err := r.Register(t.Context(), Registration{
			Name: "east", Labels: map[string]string{"region": "eu"}, Role: tunnel.RoleHub, TTL: time.Minute, Owner: "admin",
		})
		if err != nil {
			t.Fatalf("Register: %v", err)
		}
		w.secret("token", b.Token)
		if !b.Expires.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("the token lives until %s, want 1 min", b.Expires)
		}
		o, err := catalog.NewObjects(w.catalog).Get(t.Context(), clusterRef("east"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(o.Data), `{"apiVersion":"penstock.dev/v1alpha1","kind":"Cluster","metadata":{"labels":{"region":"eu"},"name":"east"},"spec":{"role":"hub"}}`; got != want || o.Owner != "admin" {
			t.Errorf("object of %q = %s, want %s of admin", o.Owner, got, want)
		}
		info, err := r.Show(t.Context(), "east")
		want := Info{
			Name: "east", Role: tunnel.RoleHub, Labels: map[string]string{"region": "eu"}, State: Pending,
			Created: time.Now(), TokenExpires: time.Now().Add(time.Minute),
		}
		if err != nil || !cmp.Equal(info, want) {
			t.Errorf("Show: %v, differs (-want +got):\n%s", err, cmp.Diff(want, info))
		}
	})
}

func TestRegisterLeavesAnObjectToItsOwner(t *testing.T) {
	const data = `{"metadata":{"annotations":{"a":"b"},"labels":{"region":"eu"}},"spec":{"sourceIP":"Trusted"}}`
	for _, tt := range []struct {
		name  string
		owner string // of the object that is there
		reg   Registration
		want  Code
		data  string
	}{
		{"nothing is asked of it", "folder", Registration{}, "", data},
		{"the same label is asked of it", "folder", Registration{Labels: map[string]string{"region": "eu"}}, "", data},
		{"the same role is asked of it", "folder", Registration{Role: tunnel.RoleSpoke}, "", data},
		{"another role is asked of it", "folder", Registration{Role: tunnel.RoleHub}, ClusterRegistered, data},
		{"another label is asked of it", "folder", Registration{Labels: map[string]string{"region": "us"}}, ClusterRegistered, data},
		{
			"another label is asked of an object of the same owner", "cli",
			Registration{Labels: map[string]string{"tier": "1"}},
			"",
			`{"metadata":{"annotations":{"a":"b"},"labels":{"region":"eu","tier":"1"}},"spec":{"sourceIP":"Trusted"}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r := w.run(w.replica("hub-0"))
				objects := catalog.NewObjects(w.catalog)
				if _, _, err := objects.Apply(t.Context(), tt.owner, catalog.Object{Ref: clusterRef("east"), Data: []byte(data)}, catalog.ApplyOptions{}); err != nil {
					t.Fatal(err)
				}
				tt.reg.Name = "east"
				b, err := r.Register(t.Context(), tt.reg)
				wantCode(t, "Register", err, tt.want)
				o, err := objects.Get(t.Context(), clusterRef("east"))
				if err != nil || string(o.Data) != tt.data || o.Owner != tt.owner {
					t.Errorf("object of %q = %s, %v, want %s of %s", o.Owner, o.Data, err, tt.data, tt.owner)
				}
				if tt.want == "" {
					w.join(r, b, "pod-1")
				}
				recs, _, err := w.catalog.List(t.Context(), catalog.TokensPrefix)
				if err != nil || tt.want != "" && len(recs) > 0 {
					t.Errorf("a refused registration left %d tokens (%v)", len(recs), err)
				}
			})
		})
	}
}

func TestRegisterAndRecoverRefuse(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		w.register(r, "east")
		w.apply(t, "manifest", `{"spec":{}}`)
		register := func(reg Registration) error { _, err := r.Register(t.Context(), reg); return err }
		recover := func(name string, ttl time.Duration) error { _, err := r.Recover(t.Context(), name, ttl); return err }
		for _, tt := range []struct {
			name string
			err  error
			want Code
		}{
			{"an empty name", register(Registration{}), BadRequest},
			{"a name in upper case", register(Registration{Name: "East"}), BadRequest},
			{"a name with a dot", register(Registration{Name: "a.b"}), BadRequest},
			{"a name with a slash", register(Registration{Name: "a/b"}), BadRequest},
			{"a name that begins with a dash", register(Registration{Name: "-a"}), BadRequest},
			{"a name that ends with a dash", register(Registration{Name: "a-"}), BadRequest},
			{"a name of 64 bytes", register(Registration{Name: strings.Repeat("a", 64)}), BadRequest},
			{"a role that does not exist", register(Registration{Name: "west", Role: "root"}), BadRequest},
			{"a token for a day and a second", register(Registration{Name: "west", TTL: 24*hour + time.Second}), BadRequest},
			{"a token for a negative time", register(Registration{Name: "west", TTL: -1}), BadRequest},
			{"a name that is registered", register(Registration{Name: "east"}), ClusterRegistered},
			{"recovery of a name that is unknown", recover("north", 0), ClusterUnknown},
			{"recovery of a malformed name", recover("../east", 0), ClusterUnknown},
			{"recovery of an object that was never registered", recover("manifest", 0), ClusterUnknown},
			{"recovery for too long", recover("east", 25*hour), BadRequest},
			{"suspension of a name that is unknown", r.Suspend(t.Context(), "north"), ClusterUnknown},
			{"resumption of a name that is unknown", r.Resume(t.Context(), "north"), ClusterUnknown},
			{"revocation of a name that is unknown", r.Revoke(t.Context(), "north"), ClusterUnknown},
			{"a look at a name that is unknown", func() error { _, err := r.Show(t.Context(), "north"); return err }(), ClusterUnknown},
		} {
			wantCode(t, tt.name, tt.err, tt.want)
		}
	})
}

func TestWhoMustGo(t *testing.T) {
	for _, tt := range []struct {
		name string
		// do is done at the first replica; undo after it makes the gateway welcome again, if it is not nil.
		do, undo func(t *testing.T, w *world, r *Registry) error
		reason   string
		state    State
	}{
		{
			"a gateway of a suspended cluster, until it is resumed",
			func(t *testing.T, _ *world, r *Registry) error { return r.Suspend(t.Context(), "east") },
			func(t *testing.T, _ *world, r *Registry) error { return r.Resume(t.Context(), "east") },
			"suspended", Suspended,
		},
		{
			"a gateway of a cluster that its object suspends, until it does not",
			func(t *testing.T, w *world, _ *Registry) error {
				w.apply(t, "east", `{"spec":{"suspended":true}}`)
				return nil
			},
			func(t *testing.T, w *world, _ *Registry) error { w.apply(t, "east", `{"spec":{}}`); return nil },
			"suspended", Suspended,
		},
		{
			"a gateway of a revoked cluster, for good",
			func(t *testing.T, _ *world, r *Registry) error { return r.Revoke(t.Context(), "east") }, nil,
			"revoked", Revoked,
		},
		{
			"a gateway of a revoked cluster, also when it is registered again",
			func(t *testing.T, w *world, r *Registry) error {
				err := r.Revoke(t.Context(), "east")
				w.register(r, "east")
				return err
			}, nil, "revoked", Revoked,
		},
		{
			"a gateway of a revoked cluster, also when another one has joined",
			func(t *testing.T, w *world, r *Registry) error {
				err := r.Revoke(t.Context(), "east")
				w.join(r, w.register(r, "east"), "pod-1")
				return err
			}, nil, "revoked", Ready,
		},
		{
			"a gateway whose role was changed, until it is changed back",
			func(t *testing.T, w *world, _ *Registry) error {
				w.apply(t, "east", `{"spec":{"role":"hub"}}`)
				return nil
			},
			func(t *testing.T, w *world, _ *Registry) error {
				w.apply(t, "east", `{"spec":{"role":"spoke"}}`)
				return nil
			},
			"role", Ready,
		},
		{
			"a gateway whose object was deleted, until it is back",
			func(t *testing.T, w *world, _ *Registry) error { w.deleteObject(t, "east"); return nil },
			func(t *testing.T, w *world, _ *Registry) error { w.apply(t, "east", `{"spec":{}}`); return nil },
			"no Cluster", "",
		},
		{
			"a gateway whose object was deleted, for good once it is registered again",
			func(t *testing.T, w *world, r *Registry) error {
				w.deleteObject(t, "east")
				w.register(r, "east")
				return nil
			}, nil, "revoked", Revoked,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				connected := func(c *Config) { c.Connected = func(string) int { return 1 } }
				r, other := w.run(w.replica("hub-0", connected)), w.run(w.replica("hub-1", connected))
				p := w.join(r, w.register(r, "east"), "pod-1").peer()
				west := w.join(r, w.register(r, "west"), "pod-1").peer()
				synctest.Wait()
				for _, hub := range []*Registry{r, other} {
					wantStanding(t, "at first", hub, p, true)
				}
				var told atomic.Int32
				other.OnChange(func() { told.Add(1) })

				if err := tt.do(t, w, r); err != nil {
					t.Fatal(err)
				}
				if reason, gone := r.Gone(p); !gone || !strings.Contains(reason, tt.reason) {
					t.Errorf("at the replica that did it, at once: Gone = %q, %v, want %q", reason, gone, tt.reason)
				}
				synctest.Wait()
				if told.Load() == 0 {
					t.Error("the other replica was not told to look")
				}
				for _, hub := range []*Registry{r, other} {
					wantStanding(t, "then", hub, p, false)
					wantStanding(t, "another cluster", hub, west, true)
					info, err := hub.Show(t.Context(), "east")
					if info.State != tt.state || (err == nil) != (tt.state != "") {
						t.Errorf("state = %q, %v, want %q", info.State, err, tt.state)
					}
				}
				if tt.undo == nil {
					_ = r.Resume(t.Context(), "east") // must not help
					synctest.Wait()
					wantStanding(t, "in the end", other, p, false)
					return
				}
				if err := tt.undo(t, w, r); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				for _, hub := range []*Registry{r, other} {
					wantStanding(t, "in the end", hub, p, true)
				}
			})
		})
	}
}

func TestResumeCannotUndoARevocation(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		w.join(r, w.register(r, "east"), "i-1")
		if err := r.Revoke(t.Context(), "east"); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "Resume", r.Resume(t.Context(), "east"), ClusterRevoked)
	})
}

func TestResumeCannotUndoTheObject(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		w.apply(t, "east", `{"spec":{"suspended":true}}`)
		err := r.Resume(t.Context(), "east")
		wantCode(t, "Resume", err, ClusterSuspended)
		if err == nil || !strings.Contains(err.Error(), `"folder"`) {
			t.Errorf("Resume error = %v, want one that names the owner", err)
		}
	})
}

func TestARevokedClusterBeginsAnew(t *testing.T) {
	for name, bundle := range map[string]func(r *Registry, t *testing.T) (control.Bundle, error){
		"by register": func(r *Registry, t *testing.T) (control.Bundle, error) {
			return r.Register(t.Context(), Registration{Name: "east"})
		},
		"by recover": func(r *Registry, t *testing.T) (control.Bundle, error) { return r.Recover(t.Context(), "east", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, w *world) {
				r := w.run(w.replica("hub-0"))
				old := w.join(r, w.register(r, "east"), "pod-1")
				if err := r.Revoke(t.Context(), "east"); err != nil {
					t.Fatal(err)
				}
				b, err := bundle(r, t)
				if err != nil {
					t.Fatal(err)
				}
				next := w.join(r, b, "pod-1")
				if next.peer().Group == old.peer().Group {
					t.Error("the group id outlived its revocation")
				}
				wantStanding(t, "the new gateway", r, next.peer(), true)
				wantStanding(t, "the revoked one", r, old.peer(), false)
				info, err := r.Show(t.Context(), "east")
				if err != nil || info.State != Disconnected || info.Group != next.peer().Group || len(info.Instances) != 1 {
					t.Errorf("Show = %+v, %v, want the new group alone", info, err)
				}
			})
		})
	}
}

func TestListIsSortedAndHasStates(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		var up string // the one group that is connected
		r := w.run(w.replica("hub-0", func(c *Config) {
			c.Connected = func(group string) int {
				if group == up {
					return 2
				}
				return 0
			}
		}))
		w.register(r, "pending")
		up = w.join(r, w.register(r, "ready"), "pod-1").peer().Group
		w.join(r, w.register(r, "away"), "pod-1")
		w.join(r, w.register(r, "suspended"), "pod-1")
		w.join(r, w.register(r, "revoked"), "pod-1")
		if err := r.Suspend(t.Context(), "suspended"); err != nil {
			t.Fatal(err)
		}
		if err := r.Revoke(t.Context(), "revoked"); err != nil {
			t.Fatal(err)
		}
		infos, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		states := map[string]State{}
		for _, i := range infos {
			names = append(names, i.Name)
			states[i.Name] = i.State
			if pending := i.Name == "pending"; i.TokenExpires.IsZero() == pending {
				t.Errorf("cluster %s: token until %s, want one only while it is pending", i.Name, i.TokenExpires)
			}
		}
		if want := []string{"away", "pending", "ready", "revoked", "suspended"}; !cmp.Equal(names, want) {
			t.Errorf("names = %v, want %v", names, want)
		}
		want := map[string]State{"away": Disconnected, "pending": Pending, "ready": Ready, "revoked": Revoked, "suspended": Suspended}
		if !maps.Equal(states, want) {
			t.Errorf("states = %v, want %v", states, want)
		}
		pass(15 * time.Minute)
		if info, err := r.Show(t.Context(), "pending"); err != nil || !info.TokenExpires.IsZero() {
			t.Errorf("token until %s (%v), want none after its end", info.TokenExpires, err)
		}
	})
}

func TestAdmitLooksPastTheWatchOnce(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		behind := w.replica("hub-1") // does not follow
		spoke := w.join(r, w.register(r, "east"), "pod-1").peer()
		b, err := r.Register(t.Context(), Registration{Name: "emea", Role: tunnel.RoleHub})
		if err != nil {
			t.Fatal(err)
		}
		child := w.join(r, b, "hub-9").peer()
		for _, p := range []tunnel.Peer{spoke, child} {
			if _, gone := behind.Gone(p); !gone {
				t.Errorf("%s is known before anybody has asked", p.ID)
			}
			wantStanding(t, p.ID.String(), behind, p, true)
		}
		stranger := spoke
		stranger.Group = newGroup()
		wantStanding(t, "a group that nobody has", behind, stranger, false)
		foreign := spoke
		foreign.TrustDomain = "example.org"
		wantStanding(t, "the same names in another trust domain", behind, foreign, false)

		w.catalog.Fail(true)
		defer w.catalog.Fail(false)
		wantStanding(t, "a known peer while the catalog is away", behind, spoke, true)
		wantStanding(t, "a stranger while the catalog is away", behind, stranger, false)
	})
}

// F-38: what a hub that is cut off cannot hear of takes effect when it is back.
func TestAHubThatIsCutOffServesWhatItKnew(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		r := w.run(w.replica("hub-0"))
		p := w.join(r, w.register(r, "east"), "pod-1").peer()
		roots := r.Roots()
		w.catalog.Fail(true)
		pass(10 * hour)
		wantStanding(t, "a gateway while the catalog is away", r, p, true)
		if cert, err := r.Certificate(); err != nil || !cert.Leaf.NotAfter.After(time.Now()) {
			t.Errorf("the hub's own certificate ended at %s (%v)", cert.Leaf.NotAfter, err)
		}
		if r.Roots() != roots {
			t.Error("the trust bundle changed by itself")
		}
		wantCode(t, "Suspend", r.Suspend(t.Context(), "east"), Unavailable)
		_, err := r.Register(t.Context(), Registration{Name: "west"})
		wantCode(t, "Register", err, Unavailable)
		w.catalog.Fail(false)
		if err := r.Suspend(context.WithoutCancel(t.Context()), "east"); err != nil {
			t.Errorf("Suspend when the catalog is back: %v", err)
		}
		wantStanding(t, "a gateway when the catalog is back", r, p, false)
	})
}
