package tunnel_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel"
	"penstock.dev/penstock/tunnel/tunneltest"
)

var spokeAddr = netip.MustParseAddrPort("10.2.0.1:1")

// dialRaw opens a connection as a spoke that we play ourselves.
func dialRaw(t *testing.T, w *tunneltest.World, config *tls.Config) (*quic.Conn, error) {
	t.Helper()
	pc := w.Listen(spokeAddr)
	tr := &quic.Transport{Conn: pc}
	t.Cleanup(func() { tr.Close(); pc.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	addr, err := net.ResolveUDPAddr("udp", w.Hubs[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	return tr.Dial(ctx, addr, config, &quic.Config{MaxIdleTimeout: time.Minute, KeepAlivePeriod: time.Second})
}

func spokeConfig(w *tunneltest.World) *tls.Config {
	return tunnel.TLSFor(w.CA.Spoke("raw"), tunnel.RoleHub, x509.ExtKeyUsageServerAuth)
}

// rawSpoke is a connection of a spoke that we play ourselves, with a good certificate.
func rawSpoke(t *testing.T, w *tunneltest.World) *quic.Conn {
	t.Helper()
	conn, err := dialRaw(t, w, spokeConfig(w))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return conn
}

// tickets records what a server wants remembered.
type tickets struct{ put int }

func (c *tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *tickets) Put(_ string, s *tls.ClientSessionState) {
	if s != nil {
		c.put++
	}
}

func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		seen := &tickets{}
		config := tunnel.TLSFor(w.CA.Spoke("raw"), tunnel.RoleHub, x509.ExtKeyUsageServerAuth).Clone() // ours alone
		config.ClientSessionCache, config.SessionTicketsDisabled = seen, false                         // as eager as a client can be
		conn, err := dialRaw(t, w, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		time.Sleep(time.Second) // tickets come after the handshake
		state := conn.ConnectionState()
		if seen.put != 0 || state.TLS.DidResume || state.Used0RTT {
			t.Errorf("%d tickets, resumed %v, 0-RTT %v: want none", seen.put, state.TLS.DidResume, state.Used0RTT)
		}
		if state.TLS.Version != tls.VersionTLS13 || state.TLS.NegotiatedProtocol != tunnel.ALPN {
			t.Errorf("version %x, protocol %q, want TLS 1.3 and %q", state.TLS.Version, state.TLS.NegotiatedProtocol, tunnel.ALPN)
		}
		if state.TLS.CurveID != tls.X25519MLKEM768 {
			t.Errorf("key exchange %v, want X25519MLKEM768", state.TLS.CurveID)
		}
		config = config.Clone()
		config.NextProtos = []string{"penstock/2"}
		if conn, err := dialRawAt(t, w, config, "10.2.0.2:1"); err == nil {
			conn.CloseWithError(0, "")
			t.Error("a client of another protocol version got in")
		}
	})
}

func dialRawAt(t *testing.T, w *tunneltest.World, config *tls.Config, from string) (*quic.Conn, error) {
	t.Helper()
	before := spokeAddr
	spokeAddr = netip.MustParseAddrPort(from)
	defer func() { spokeAddr = before }()
	return dialRaw(t, w, config)
}

// TestCertificates is rows 2 and 3 of B.3: what a side does not accept, and that a request then has P1. // F-32
func TestCertificates(t *testing.T) {
	type world struct {
		*tunneltest.World
		other *tunneltest.CA // unknown CA, same trust domain
		alien *tunneltest.CA // unknown trust domain
		spoke *tunneltest.Identity
		hub   *tunneltest.Identity
	}
	const past = -time.Minute
	for _, tc := range []struct {
		name  string
		given func(w *world)
		want  error // nil: the tunnel comes up
		text  string
	}{
		{"both good", func(*world) {}, nil, ""},
		{"the hub's expired", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.HubID("h"), tunneltest.Leaf{NotAfter: time.Now().Add(past)}))
		}, tunnel.ErrCertificate, "expired 1m"},
		{"the hub's is not valid yet", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.HubID("h"), tunneltest.Leaf{NotBefore: time.Now().Add(time.Minute)}))
		}, tunnel.ErrCertificate, "not yet valid"},
		{"the hub is a spoke", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{}))
		}, tunnel.ErrCertificate, "role spoke"},
		{"the hub is of another trust domain under the same CA", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.alien.HubID("h"), tunneltest.Leaf{}))
		}, tunnel.ErrCertificate, "trust domain"},
		{"the hub's is of an unknown CA", func(w *world) {
			w.hub.SetCertificate(w.other.Issue(w.other.HubID("h"), tunneltest.Leaf{}))
		}, tunnel.ErrCertificate, "unknown authority"},
		{"the hub's is for clients only", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.HubID("h"), tunneltest.Leaf{Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
		}, tunnel.ErrCertificate, "key usage"},
		{"the hub's has two names", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.HubID("h"), tunneltest.Leaf{
				URIs: []string{w.CA.HubID("h").String(), w.CA.HubID("i").String()},
			}))
		}, tunnel.ErrCertificate, "2 URI names"},
		{"the hub's names a website", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.HubID("h"), tunneltest.Leaf{URIs: []string{"https://example.com/"}}))
		}, tunnel.ErrCertificate, "spiffe"},
		{"the hub's has no instance", func(w *world) {
			w.hub.SetCertificate(w.CA.Issue(w.CA.HubID("h"), tunneltest.Leaf{Instance: "-"}))
		}, tunnel.ErrCertificate, "no instance"},
		{"the hub is locked at the spoke", func(w *world) {
			w.spoke.SetAdmit(func(tunnel.Peer) error { return errors.New("locked") })
		}, tunnel.ErrCertificate, "locked"},
		{"ours expired: nothing is dialed", func(w *world) {
			w.spoke.SetCertificate(w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{NotAfter: time.Now().Add(past)}))
		}, tunnel.ErrRefused, "renew it"},
		{"ours is not valid yet", func(w *world) {
			w.spoke.SetCertificate(w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{NotBefore: time.Now().Add(time.Minute)}))
		}, tunnel.ErrRefused, ""},
		{"ours is of an unknown CA", func(w *world) {
			w.spoke.SetCertificate(w.other.Issue(w.other.SpokeID("east"), tunneltest.Leaf{}))
		}, tunnel.ErrRefused, ""},
		{"ours is for servers only", func(w *world) {
			w.spoke.SetCertificate(w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}))
		}, tunnel.ErrRefused, ""},
		{"we are suspended", func(w *world) {
			w.hub.SetAdmit(func(tunnel.Peer) error { return errors.New("suspended") })
		}, tunnel.ErrRefused, ""},
		{"a hub as a spoke of its parent", func(w *world) {
			w.spoke.SetCertificate(w.CA.Issue(w.CA.HubID("child"), tunneltest.Leaf{}))
		}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tw := tunneltest.New(t)
				cfg, id := tw.Config("east")
				w := &world{
					World: tw, other: tunneltest.NewCA(t, ""), alien: tunneltest.NewCA(t, "alien.example"),
					spoke: id, hub: tw.Hubs[0].Identity,
				}
				tc.given(w)
				c := w.Start(t, cfg)
				_, err := c.RoundTrip(get(t, "/v1"))
				if tc.want == nil {
					if err != nil {
						t.Fatalf("RoundTrip error = %v, want none", err)
					}
					return
				}
				var e *tunnel.Error
				if !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Proof != tunnel.ProofNoStream {
					t.Fatalf("RoundTrip error = %v, want %v with P1", err, tc.want)
				}
				if !strings.Contains(err.Error(), tc.text) {
					t.Errorf("error %q does not say %q", err, tc.text)
				}
				if s := c.Status()[0]; s.State != "failed" || s.Error == "" {
					t.Errorf("status = %+v, want failed and why", s)
				}
				if n := w.Hubs[0].Stats().Exchanges; n != 0 {
					t.Errorf("%d handlers started, want none", n)
				}
			})
		})
	}
}

// TestHubChecksByItself: a spoke that accepts any hub is still checked by the hub.
func TestHubChecksByItself(t *testing.T) {
	ca := func(w *tunneltest.World) *tunneltest.CA { return w.CA }
	for _, tc := range []struct {
		name  string
		id    func(w *tunneltest.World) tunnel.ID
		by    func(w *tunneltest.World) *tunneltest.CA
		roles []tunnel.Role
		good  bool
	}{
		{"a spoke", func(w *tunneltest.World) tunnel.ID { return w.CA.SpokeID("east") }, ca, nil, true},
		{"a spoke of another trust domain under the same CA", func(*tunneltest.World) tunnel.ID {
			return tunnel.ID{TrustDomain: "alien.example", Role: tunnel.RoleSpoke, Cluster: "east", Group: "g"}
		}, ca, nil, false},
		{
			"a spoke where only hubs may come", func(w *tunneltest.World) tunnel.ID { return w.CA.SpokeID("east") }, ca,
			[]tunnel.Role{tunnel.RoleHub},
			false,
		},
		{
			"a hub where only hubs may come", func(w *tunneltest.World) tunnel.ID { return w.CA.HubID("child") }, ca,
			[]tunnel.Role{tunnel.RoleHub},
			true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tunneltest.New(t, tunneltest.Server(func(cfg *tunnel.ServerConfig) { cfg.Accept = tc.roles }))
				config := tunnel.TLSFor(tc.by(w).Identity(tc.id(w), tunneltest.Leaf{}), tunnel.RoleHub, x509.ExtKeyUsageServerAuth).Clone()
				config.VerifyConnection = nil
				conn, err := dialRaw(t, w, config)
				if err != nil {
					t.Fatal(err) // TLS 1.3: our end cannot know yet
				}
				time.Sleep(time.Second)
				if alive := conn.Context().Err() == nil; alive != tc.good {
					t.Errorf("connection alive = %v (%v), want %v", alive, context.Cause(conn.Context()), tc.good)
				}
				if n := len(w.Hubs[0].Peers()); (n == 1) != tc.good {
					t.Errorf("%d peers at the hub", n)
				}
				conn.CloseWithError(0, "")
			})
		})
	}
}

// TestRefusedCertificateIsNotDialedAgain is row 3: not with the same one, at once with another.
func TestRefusedCertificateIsNotDialedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		other := tunneltest.NewCA(t, "")
		cfg, id := w.Config("east")
		id.SetCertificate(other.Issue(other.SpokeID("east"), tunneltest.Leaf{}))
		c := w.Start(t, cfg)
		time.Sleep(4 * time.Second)
		if n := c.Stats().Dials; n != 1 {
			t.Errorf("%d dials with a refused certificate in 4 s, want 1", n)
		}
		id.SetCertificate(w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{}))
		time.Sleep(1100 * time.Millisecond)
		if s := c.Status()[0]; s.State != "ready" {
			t.Errorf("state = %s (%s) 1.1 s after a new certificate, want ready", s.State, s.Error)
		}
	})
}

func TestNewTrustBundleIsANewConfig(t *testing.T) {
	ca, next := tunneltest.NewCA(t, ""), tunneltest.NewCA(t, "")
	id := ca.Spoke("east")
	current := tunnel.TLSVersions(id)
	first := current()
	if current() != first {
		t.Error("two configs for one trust bundle")
	}
	id.SetRoots(ca.Roots(next))
	if current() == first {
		t.Error("the config of the old trust bundle is used with the new one")
	}
}

// TestRotation is F-34 and renewal: the spoke moves to connections under the new certificate and roots, and no request
// fails meanwhile.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		c := w.Dial(t, "east")
		load := startLoad(t, c, 4, 5*time.Millisecond)
		renewed := w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{Instance: "renewed"})
		c.Identity.SetCertificate(renewed)
		time.Sleep(3 * time.Second)
		peers := w.Hubs[0].Peers()
		if len(peers) != 1 || peers[0].Instance != "renewed" {
			t.Errorf("peers = %+v, want one with the renewed certificate", peers)
		}
		next := tunneltest.NewCA(t, "")
		w.Hubs[0].Identity.SetRoots(w.CA.Roots(next))
		c.Identity.SetRoots(w.CA.Roots(next))
		time.Sleep(3 * time.Second)
		w.Hubs[0].Identity.SetCertificate(next.Issue(next.HubID("hubs"), tunneltest.Leaf{}))
		c.Identity.SetCertificate(next.Issue(next.SpokeID("east"), tunneltest.Leaf{Instance: "next"}))
		time.Sleep(3 * time.Second)
		w.Hubs[0].Identity.SetRoots(next.Roots())
		c.Identity.SetRoots(next.Roots())
		time.Sleep(3 * time.Second)
		if peers := w.Hubs[0].Peers(); len(peers) != 1 || peers[0].Instance != "next" {
			t.Errorf("peers = %+v, want one under the next CA", peers)
		}
		load.stop(t)
	})
}

// TestExpiredTunnelStartsNothing: a certificate that ends while its tunnel is up starts no exchange any more, and the
// refusal is a proof. // F-32
func TestExpiredTunnelStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := tunneltest.New(t)
		cfg, id := w.Config("east")
		id.SetCertificate(w.CA.Issue(w.CA.SpokeID("east"), tunneltest.Leaf{NotAfter: time.Now().Add(time.Minute)}))
		c := w.Start(t, cfg)
		do(t, c, get(t, "/v1"))
		time.Sleep(time.Minute)
		before := w.Hubs[0].Stats().Exchanges
		_, err := c.RoundTrip(get(t, "/v1"))
		if !errors.Is(err, tunnel.ErrRejected) {
			t.Errorf("RoundTrip error = %v, want ErrRejected", err)
		}
		if n := w.Hubs[0].Stats().Exchanges - before; n != 0 {
			t.Errorf("%d handlers started after expiry, want none", n)
		}
	})
}

// TestJoin is the HTTPS join endpoint: trusted by the CA's pin and the hub's role, nothing else.
func TestJoin(t *testing.T) {
	ca, other := tunneltest.NewCA(t, ""), tunneltest.NewCA(t, "")
	for _, tc := range []struct {
		name   string
		server *tunneltest.Identity
		domain string
		pin    string
		text   string // "": accepted
	}{
		{"the hub that was promised", ca.Hub("h"), tunneltest.TrustDomain, ca.Pin(), ""},
		{"a hub of another CA", other.Hub("h"), tunneltest.TrustDomain, ca.Pin(), "no CA with pin"},
		{"a spoke", ca.Spoke("east"), tunneltest.TrustDomain, ca.Pin(), "not a hub"},
		{"a hub of another trust domain", ca.Hub("h"), "alien.example", ca.Pin(), "not a hub"},
		{
			"a hub whose certificate expired", ca.Identity(ca.HubID("h"), tunneltest.Leaf{NotAfter: time.Now().Add(-time.Minute)}),
			tunneltest.TrustDomain, ca.Pin(), "expired",
		},
		{"a pin that is none", ca.Hub("h"), tunneltest.TrustDomain, "sha256:zz", "64 hex digits"},
		{"a pin without algorithm", ca.Hub("h"), tunneltest.TrustDomain, strings.TrimPrefix(ca.Pin(), "sha256:"), "64 hex digits"},
		{"the leaf's own key as pin", ca.Hub("h"), tunneltest.TrustDomain, "leaf", "no CA with pin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.pin == "leaf" {
				cert, err := tc.server.Certificate()
				if err != nil {
					t.Fatal(err)
				}
				tc.pin = tunnel.PinOf(cert.Leaf)
			}
			client, server := net.Pipe()
			defer client.Close()
			done := make(chan error, 1)
			go func() {
				defer server.Close()
				done <- tls.Server(server, tunnel.JoinServerTLS(tc.server)).HandshakeContext(t.Context())
			}()
			conn := tls.Client(client, tunnel.JoinClientTLS(tc.domain, tc.pin, nil))
			err := conn.HandshakeContext(t.Context())
			switch {
			case tc.text == "" && err != nil:
				t.Errorf("handshake error = %v, want none", err)
			case tc.text != "" && (err == nil || !strings.Contains(err.Error(), tc.text)):
				t.Errorf("handshake error = %v, want one that says %q", err, tc.text)
			}
			if serverErr := <-done; tc.text == "" && serverErr != nil {
				t.Errorf("server's handshake error = %v", serverErr)
			}
		})
	}
}

func TestPeerFrom(t *testing.T) {
	if _, ok := tunnel.PeerFrom(t.Context()); ok {
		t.Error("a peer in a context that has none")
	}
	synctest.Test(t, func(t *testing.T) {
		var got tunnel.Peer
		w := tunneltest.New(t, tunneltest.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, _ = tunnel.PeerFrom(r.Context())
		})))
		c := w.Dial(t, "east")
		do(t, c, get(t, "/"))
		cert, err := c.Identity.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		want := tunnel.Peer{ID: w.CA.SpokeID("east"), Instance: "i-1", Serial: cert.Leaf.SerialNumber.Text(16), NotAfter: cert.Leaf.NotAfter}
		if got != want {
			t.Errorf("peer = %+v, want %+v", got, want)
		}
	})
}
