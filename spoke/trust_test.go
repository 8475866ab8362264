package spoke

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel/tunneltest"
)

// A hub tells its list of hubs and its roots with each new watch. Each new pool of roots would be a new trust bundle, and
// so a new tunnel, and so a new watch.
func TestAHubThatRepeatsItselfChangesNothing(t *testing.T) {
	ca := tunneltest.NewCA(t, "")
	cert := ca.Issue(ca.SpokeID("east"), tunneltest.Leaf{})
	encode := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	roots := encode(cert.Certificate[len(cert.Certificate)-1])
	id := &identity{file: filepath.Join(t.TempDir(), "identity.json")}
	hubs := []control.Hub{{Name: "hub-a", Address: "192.0.2.1:8443"}}
	if err := id.take(record{Instance: "i-1"}, cert.PrivateKey.(*ecdsa.PrivateKey), control.Certificate{
		Chain: encode(cert.Certificate[0]), Roots: roots, Generation: 1, Hubs: hubs,
	}); err != nil {
		t.Fatal(err)
	}
	before, pool := id.current.Load(), id.Roots()
	for range 2 {
		if err := id.advertised(hubs); err != nil {
			t.Fatal(err)
		}
		if err := id.trust(roots); err != nil {
			t.Fatal(err)
		}
	}
	if id.current.Load() != before {
		t.Error("a hub that repeats itself replaced the identity")
	}

	if err := id.advertised(append(hubs, control.Hub{Name: "hub-b", Address: "192.0.2.2:8443"})); err != nil {
		t.Fatal(err)
	}
	if id.Roots() != pool {
		t.Error("another hub made another trust bundle")
	}
	if len(id.current.Load().Hubs) != 2 {
		t.Error("the new hub was not remembered")
	}
	other := tunneltest.NewCA(t, "").Issue(ca.SpokeID("east"), tunneltest.Leaf{})
	if err := id.trust(roots + encode(other.Certificate[len(other.Certificate)-1])); err != nil {
		t.Fatal(err)
	}
	if id.Roots() == pool {
		t.Error("new roots are not a new trust bundle")
	}
	info, err := os.Stat(id.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the identity file: %v, %v; want mode 0600", info, err)
	}
}

// NotBefore is backdated by five minutes, so it must not count: a life of one minute would be half over before it began,
// and renewals would follow one another without a pause.
func TestHalfOfALifeIsCountedFromWhenItBegan(t *testing.T) {
	now := time.Now()
	h := &held{since: now, certificate: tls.Certificate{Leaf: &x509.Certificate{
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(time.Minute),
	}}}
	if got := h.renewAt().Sub(now); got != 30*time.Second {
		t.Errorf("renewed after %v, want 30s", got)
	}
}

func TestAHubThatCannotDecideIsNotTheLastOneAsked(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		asked  int
	}{
		{"a hub whose catalog is away: the next is asked", http.StatusServiceUnavailable, 2},
		{"a hub that refuses: nobody else is asked", http.StatusForbidden, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var asked []string
			id := &identity{now: time.Now, post: func(_ context.Context, url string, _ *tls.Config, _, _ any) error {
				asked = append(asked, url)
				return &refusedError{status: row.status}
			}}
			err := id.anyJoin(t.Context(), record{Join: []string{"https://a.example.com", "https://b.example.com"}}, control.PathJoin, nil, nil)
			if err == nil || len(asked) != row.asked {
				t.Errorf("asked %v: %v", asked, err)
			}
		})
	}
}
