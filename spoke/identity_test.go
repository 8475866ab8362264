package spoke

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel"
)

// noPost fails a test that goes to a join endpoint.
func noPost(t *testing.T) func(context.Context, string, *tls.Config, any, any) error {
	return func(_ context.Context, url string, _ *tls.Config, _, _ any) error {
		t.Errorf("a call of %s", url)
		return errors.New("not in this test")
	}
}

// folder is a spoke's state folder and the bundle beside it.
type folder struct{ dir, bundle, file string }

func newFolder(t *testing.T) folder {
	dir := t.TempDir()
	return folder{dir, filepath.Join(dir, "bundle.json"), filepath.Join(dir, "identity.json")}
}

func (f folder) load(t *testing.T) (*identity, error) {
	return loadIdentity(t.Context(), f.dir, f.bundle)
}

func (f folder) mustLoad(t *testing.T) *identity {
	t.Helper()
	id, err := f.load(t)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAFirstJoinAndRestarts(t *testing.T) {
	h, f := newJoinHub(t), newFolder(t)
	h.register(t, "token-one", f.bundle)
	id := f.mustLoad(t)
	held := id.current.Load()
	if want := (tunnel.ID{TrustDomain: "example.com", Role: tunnel.RoleSpoke, Cluster: "east", Group: "00112233445566778899aabbccddeeff"}); held.id != want {
		t.Errorf("we are %+v, want %+v", held.id, want)
	}
	if held.Generation != 1 || held.Pseudonym != "pseudonym" || len(held.Hubs) != 1 || len(held.Instance) != 32 || held.Instance != h.joins[0].Instance {
		t.Errorf("record %+v, join %+v", held.record.Instance, h.joins[0].Instance)
	}
	info, err := os.Stat(f.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if data, err := os.ReadFile(f.file); err != nil || strings.Contains(string(data), "token-one") {
		t.Errorf("the file holds the token: %v", err)
	}

	// A restart takes up what is there and asks nobody.
	again := f.mustLoad(t)
	if diff := cmp.Diff(held.record, again.current.Load().record); diff != "" || len(h.joins) != 1 {
		t.Errorf("%d joins, and the record changed (-want +got):\n%s", len(h.joins), diff)
	}
	// So it does without the bundle, and with one that is too old to mean anything.
	if err := os.Remove(f.bundle); err != nil {
		t.Fatal(err)
	}
	f.mustLoad(t)
	expired := h.bundle
	expired.Token, expired.Expires = "token-late", time.Now().Add(-time.Second)
	writeJSONFile(t, f.bundle, expired)
	if f.mustLoad(t).current.Load().Instance != held.Instance || len(h.joins) != 1 {
		t.Errorf("%d joins after restarts", len(h.joins))
	}
	// Another bundle in time is a new registration.
	h.register(t, "token-two", f.bundle)
	rejoined := f.mustLoad(t).current.Load()
	if len(h.joins) != 2 || h.joins[1].Token != "token-two" || rejoined.Instance == held.Instance || rejoined.Generation != 2 {
		t.Errorf("%d joins, instance %s after %s", len(h.joins), rejoined.Instance, held.Instance)
	}
	f.mustLoad(t)
	if len(h.joins) != 2 {
		t.Errorf("%d joins after one more restart", len(h.joins))
	}
}

// A new registration that fails leaves the one that works.
func TestARejoinThatFailsKeepsTheOldIdentity(t *testing.T) {
	h, f := newJoinHub(t), newFolder(t)
	h.register(t, "token-one", f.bundle)
	f.mustLoad(t)
	before, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	h.register(t, "token-two", f.bundle)
	h.mu.Lock()
	h.refuse = refusal(http.StatusForbidden, "revoked", "cluster east was revoked", "register it anew")
	h.mu.Unlock()
	if _, err := f.load(t); err == nil {
		t.Fatal("a refused join is none")
	}
	after, err := os.ReadFile(f.file)
	if err != nil || string(after) != string(before) {
		t.Errorf("the identity changed: %v", err)
	}
}

// An answer that is lost costs nothing: the same key and instance ask again, which the hub knows from a clone.
func TestAJoinWhoseAnswerIsLost(t *testing.T) {
	h, f := newJoinHub(t), newFolder(t)
	h.register(t, "token-one", f.bundle)
	h.lose = true
	if _, err := f.load(t); err == nil {
		t.Fatal("a join without an answer is none")
	}
	h.mu.Lock()
	h.lose = false
	h.mu.Unlock()
	f.mustLoad(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.joins) != 2 || h.joins[0].Instance != h.joins[1].Instance || h.keys[0] != h.keys[1] {
		t.Errorf("%d joins; instances and keys differ", len(h.joins))
	}
}

func TestJoinEndpoints(t *testing.T) {
	h := newJoinHub(t)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	other := newJoinHub(t) // another installation: the pin does not fit
	for _, row := range []struct {
		name string
		join []string
		want string // in the error; empty: none
	}{
		{"the next one is tried when one is down", []string{strings.Replace(down.URL, "http:", "https:", 1), h.server.URL}, ""},
		{"one with another CA is passed over", []string{other.server.URL, h.server.URL}, ""},
		{"all are down", []string{strings.Replace(down.URL, "http:", "https:", 1)}, "join as cluster east"},
		{"a CA that was not pinned is believed by nobody", []string{other.server.URL}, "shows no CA with pin"},
		{"a bundle without any", nil, "names no join endpoint"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFolder(t)
			h.register(t, row.name, f.bundle)
			b := h.bundle
			b.Token, b.Join, b.Expires = row.name, row.join, time.Now().Add(time.Minute)
			writeJSONFile(t, f.bundle, b)
			_, err := f.load(t)
			if (row.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), row.name) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
	if len(other.joins) != 0 {
		t.Errorf("%d tokens were told to a hub that was not pinned", len(other.joins))
	}
}

// A hub that has decided is not asked elsewhere, and its remedy is passed on.
func TestARefusalIsFinal(t *testing.T) {
	h, second, f := newJoinHub(t), newJoinHub(t), newFolder(t)
	h.refuse = refusal(http.StatusForbidden, "token-expired", "the token expired 5 min ago", "run `penstock cluster recover east`")
	b := h.bundle
	b.Token, b.Join, b.Expires = "secret-token", []string{h.server.URL, second.server.URL}, time.Now().Add(time.Minute)
	writeJSONFile(t, f.bundle, b)
	_, err := f.load(t)
	for _, part := range []string{"cluster east", "the token expired 5 min ago", "run `penstock cluster recover east`"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret-token") || len(second.joins) != 0 {
		t.Errorf("error %v; %d calls of the second hub", err, len(second.joins))
	}
	var refused *refusedError
	if !errors.As(err, &refused) || refused.status != http.StatusForbidden || refused.code != "token-expired" {
		t.Errorf("refused %+v", refused)
	}
	if got := (&refusedError{status: http.StatusBadGateway}).Error(); got != "Bad Gateway" {
		t.Errorf("a refusal without words says %q", got)
	}
}

func TestFilesThatCannotBeUsed(t *testing.T) {
	h := newJoinHub(t)
	good := func() record { return h.issued().current.Load().record }
	text := func(edit func(*record)) string {
		r := good()
		edit(&r)
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const remedy = "remove the file and join with a new bundle"
	for _, row := range []struct {
		name             string
		identity, bundle string
		want             []string
	}{
		{"neither identity nor bundle", "", "", []string{"identity.json does not exist", "penstock cluster register"}},
		{"an identity that is no JSON", "{", "", []string{"identity.json", remedy}},
		{"a certificate that does not fit its key", text(func(r *record) { r.Key = good().Key }), "", []string{"certificate and key", remedy}},
		{"a certificate that is none", text(func(r *record) { r.Certificate = "x" }), "", []string{"certificate and key", remedy}},
		{"roots that are none", text(func(r *record) { r.Roots = "x" }), "", []string{"roots", remedy}},
		{"a bundle that is no JSON", "", "x", []string{"is not a join bundle", "penstock cluster register"}},
		{"a bundle of another version", "", `{"apiVersion": "penstock.dev/join/v9"}`, []string{"is not a join bundle"}},
		{"a good identity beside a broken bundle", text(func(*record) {}), "x", []string{"is not a join bundle"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFolder(t)
			if row.identity != "" {
				if err := os.WriteFile(f.file, []byte(row.identity), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			bundle := ""
			if row.bundle != "" {
				bundle = f.bundle
				if err := os.WriteFile(bundle, []byte(row.bundle), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := loadIdentity(t.Context(), f.dir, bundle)
			for _, part := range row.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v does not say %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Errorf("the error holds a key: %v", err)
			}
			if row.identity != "" {
				if left, err := os.ReadFile(f.file); err != nil || string(left) != row.identity {
					t.Errorf("the file was changed: %v", err)
				}
			}
		})
	}
}

func TestAnExpiredCertificateIsRecovered(t *testing.T) {
	h, f := newJoinHub(t), newFolder(t)
	h.life = -time.Minute
	h.register(t, "token-one", f.bundle)
	expired := f.mustLoad(t).current.Load()
	if time.Now().Before(expired.certificate.Leaf.NotAfter) {
		t.Fatal("the certificate has not expired")
	}
	h.life = time.Hour
	h.mu.Lock()
	h.refuse = refusal(http.StatusForbidden, "revoked", "cluster east was revoked", "")
	h.mu.Unlock()
	_, err := f.load(t)
	for _, part := range []string{"certificate expired", "cluster east was revoked", "penstock cluster recover east"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
	h.mu.Lock()
	h.refuse = nil
	h.mu.Unlock()
	recovered := f.mustLoad(t).current.Load()
	if len(h.recovers) != 1 || h.recovers[0].Generation != expired.Generation || h.recovers[0].Certificate != expired.Certificate {
		t.Fatalf("recover requests: %+v", h.recovers)
	}
	if recovered.Generation != expired.Generation+1 || recovered.Instance != expired.Instance || recovered.Key == expired.Key || recovered.NextKey != "" {
		t.Errorf("recovered generation %d after %d, instance %s after %s", recovered.Generation, expired.Generation, recovered.Instance, expired.Instance)
	}
	f.mustLoad(t)
	if len(h.recovers) != 1 || len(h.joins) != 1 {
		t.Errorf("%d recovers and %d joins", len(h.recovers), len(h.joins))
	}
}

// transport is a tunnel that is a function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// renewals answers renewal requests and keeps them.
func (i *issuer) renewals(asked *[]control.RenewRequest) transport {
	return func(r *http.Request) (*http.Response, error) {
		var in control.RenewRequest
		if r.Host != "" && r.Host != tunnel.ControlAuthority || r.URL.Host != tunnel.ControlAuthority || r.URL.Path != control.PathRenew || r.Method != http.MethodPost {
			i.t.Errorf("a call of %s %s", r.Method, r.URL)
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			i.t.Error(err)
		}
		*asked = append(*asked, in)
		w := httptest.NewRecorder()
		if err := json.NewEncoder(w).Encode(i.issue(in.CSR)); err != nil {
			i.t.Error(err)
		}
		return w.Result(), nil
	}
}

func TestRenewalTakesANewKeyEachTime(t *testing.T) {
	i := newIssuer(t)
	id := i.issued()
	var asked []control.RenewRequest
	for range 3 {
		if err := id.renew(t.Context(), i.renewals(&asked)); err != nil {
			t.Fatal(err)
		}
	}
	if got := []int64{asked[0].Generation, asked[1].Generation, asked[2].Generation}; !slices.Equal(got, []int64{1, 2, 3}) {
		t.Errorf("generations asked with: %v", got)
	}
	keys := slices.Clone(i.keys)
	slices.Sort(keys)
	if len(slices.Compact(keys)) != 4 {
		t.Error("a key was used twice")
	}
	held := id.current.Load()
	data, err := os.ReadFile(id.file)
	var kept record
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if diff := cmp.Diff(held.record, kept); err != nil || diff != "" || held.Generation != 4 || held.Instance != "i" {
		t.Errorf("generation %d; on disk (-held +kept), %v:\n%s", held.Generation, err, diff)
	}
}

// A lost answer is asked for again with the same key, even after a restart; a hub that refuses changes nothing.
func TestARenewalThatFails(t *testing.T) {
	i := newIssuer(t)
	id := i.issued()
	before := id.current.Load()
	lost := errors.New("the tunnel died")
	var asked []control.RenewRequest
	answers := i.renewals(&asked)
	err := id.renew(t.Context(), transport(func(r *http.Request) (*http.Response, error) {
		if _, err := answers(r); err != nil {
			t.Error(err)
		}
		return nil, lost
	}))
	if !errors.Is(err, lost) || id.current.Load().Certificate != before.Certificate {
		t.Errorf("renew = %v", err)
	}
	restarted := &identity{file: id.file, now: time.Now}
	data, err := os.ReadFile(id.file)
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	h, err := hold(r)
	if err != nil {
		t.Fatal(err)
	}
	restarted.current.Store(h)
	if err := restarted.renew(t.Context(), answers); err != nil {
		t.Fatal(err)
	}
	if i.keys[1] != i.keys[2] || asked[0].Generation != asked[1].Generation {
		t.Error("the second request has another key or generation: the hub takes it for a clone's")
	}

	for _, answer := range []string{`{"chain": "x", "roots": "y"}`, `{}`, `not json`} {
		held := restarted.current.Load().Certificate
		err := restarted.renew(t.Context(), transport(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.WriteString(answer)
			return w.Result(), nil
		}))
		if err == nil || restarted.current.Load().Certificate != held {
			t.Errorf("an answer %q: %v", answer, err)
		}
	}
}

func TestWriteFileReplacesAsAWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "identity.json")
	for _, text := range []string{"a long first version", "short"} {
		if err := writeFile(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(name); err != nil || string(data) != text {
			t.Errorf("%q, %v", data, err)
		}
	}
	// It cannot take the place of a folder: what is there stays, and nothing is left beside it.
	occupied := filepath.Join(dir, "occupied")
	if err := os.MkdirAll(filepath.Join(occupied, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(occupied, []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	if err := writeFile(filepath.Join(dir, "missing", "file"), nil); err == nil {
		t.Error("a file in a folder that does not exist")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestOnlyHubsOfOurTrustDomainAreAdmitted(t *testing.T) {
	id := newIssuer(t).issued()
	for _, row := range []struct {
		name  string
		peer  tunnel.ID
		admit bool
	}{
		{"a hub of ours", tunnel.ID{TrustDomain: "example.com", Role: tunnel.RoleHub, Group: "g"}, true},
		{"a hub of another domain", tunnel.ID{TrustDomain: "example.net", Role: tunnel.RoleHub, Group: "g"}, false},
		{"another spoke", tunnel.ID{TrustDomain: "example.com", Role: tunnel.RoleSpoke, Cluster: "west", Group: "g"}, false},
		{"nobody", tunnel.ID{}, false},
	} {
		if err := id.Admit(tunnel.Peer{ID: row.peer}); (err == nil) != row.admit {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
