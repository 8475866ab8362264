package admin

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/catalogtest"
	"penstock.dev/penstock/hub/credential"
	"penstock.dev/penstock/hub/registry"
	"penstock.dev/penstock/manifest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// validator is made once: it takes a while.
var validator = sync.OnceValues(manifest.NewValidator)

// world is a hub's registry, credentials and objects on a catalog in memory, and the admin server over them. At its end
// no log line and no answer of an operation may hold a secret.
type world struct {
	t        *testing.T
	catalog  *catalogtest.Memory
	objects  *catalog.Objects
	registry *registry.Registry
	hub      *fakeHub
	log      *buffer
	answers  *buffer // everything that was sent to a client
	server   *Server
	secrets  []string
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, catalog: catalogtest.New(), hub: &fakeHub{}, log: &buffer{}, answers: &buffer{}}
	w.objects = catalog.NewObjects(w.catalog)
	seal := newSealer(t)
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	w.registry, err = registry.New(t.Context(), registry.Config{
		Catalog: w.catalog, Sealer: seal, Objects: w.objects, TrustDomain: "example.com", Name: "hub-0", Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	v, err := validator()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Clusters: w.registry, Credentials: credential.NewStore(w.catalog, seal), Objects: w.objects, Codec: codec{seal},
		Hub: w.hub, Validator: v, Log: log,
	}
	for _, c := range change {
		c(&cfg)
	}
	if w.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.checkSecrets)
	return w
}

// secret must not come out anywhere.
func (w *world) secret(value string) string {
	w.secrets = append(w.secrets, value)
	return value
}

func (w *world) checkSecrets() {
	for _, s := range w.secrets {
		if strings.Contains(w.log.String(), s) {
			w.t.Errorf("the log holds the secret %q", s)
		}
		if strings.Contains(w.answers.String(), s) {
			w.t.Errorf("an answer holds the secret %q", s)
		}
	}
}

// client serves on a socket and returns a client of it.
func (w *world) client() *admin.Client {
	w.t.Helper()
	path := w.serveSocket()
	c, err := admin.New(admin.Config{Socket: path})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// serveSocket serves until the test ends, and returns the path.
func (w *world) serveSocket() string {
	w.t.Helper()
	path := filepath.Join(shortDir(w.t), "admin.sock")
	w.server.local = w.record(w.server.local)
	w.run(func(ctx context.Context) error { return w.server.ServeSocket(ctx, path) })
	waitFor(w.t, func() bool { _, err := os.Stat(path); return err == nil })
	return path
}

// run runs serve until the test ends.
func (w *world) run(serve func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
}

// record keeps what is answered.
func (w *world) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(recorder{rw, io.MultiWriter(rw, w.answers)}, r)
	})
}

type recorder struct {
	http.ResponseWriter
	to io.Writer
}

func (r recorder) Write(p []byte) (int, error) { return r.to.Write(p) }

// apply writes manifests for an owner, past the API.
func (w *world) apply(owner, text string) {
	w.t.Helper()
	objects, problems := manifest.Parse("there.yaml", []byte(text))
	if len(problems) > 0 {
		w.t.Fatalf("%v", problems)
	}
	for _, o := range objects {
		encoded, err := w.server.cfg.Codec.Encode(w.t.Context(), o)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, _, err := w.objects.Apply(w.t.Context(), owner, encoded, catalog.ApplyOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// wantError checks status and code of a client's error.
func wantError(t *testing.T, what string, err error, status int, code string) *admin.Error {
	t.Helper()
	e, ok := errors.AsType[*admin.Error](err)
	if !ok || e.Status != status || e.Code != code || e.Message == "" {
		t.Errorf("%s: error = %#v, want %d %s with a message", what, err, status, code)
		return &admin.Error{}
	}
	return e
}

// fakeHub is what only the running hub knows.
type fakeHub struct {
	mu        sync.Mutex
	status    admin.Status
	instances map[string][]admin.Instance
	refusals  map[string][]control.Refusal
	explain   func(admin.ExplainRequest) (admin.Explanation, error)
}

func (h *fakeHub) Status(context.Context) admin.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

func (h *fakeHub) Version() admin.Version { return admin.Version{Version: "v1.2.3", Name: "hub-0"} }

func (h *fakeHub) Explain(_ context.Context, req admin.ExplainRequest) (admin.Explanation, error) {
	return h.explain(req)
}

func (h *fakeHub) Why(_ context.Context, id string) []control.Refusal { return h.refusals[id] }

func (h *fakeHub) Instances(cluster string) []admin.Instance { return h.instances[cluster] }

func (h *fakeHub) Options() manifest.Options {
	return manifest.Options{Controller: manifest.HubController, Catalog: true, OwnNames: []string{"hub.example.com"}}
}

// codec seals Secrets; the same Secret twice gives the same bytes.
type codec struct{ sealer sealer }

func (c codec) Encode(_ context.Context, o manifest.Object) (catalog.Object, error) {
	out := catalog.Object{Ref: catalog.Ref(o.ID), Data: o.JSON}
	if o.ID.Kind != kindSecret {
		return out, nil
	}
	var head map[string]json.RawMessage
	if err := json.Unmarshal(o.JSON, &head); err != nil {
		return out, errors.New("not an object")
	}
	nonce := sha256.Sum256(o.JSON)
	sealed, err := json.Marshal(c.sealer.aead.Seal(nonce[:12:12], nonce[:12], o.JSON, nil))
	if err != nil {
		return out, err
	}
	data, err := json.Marshal(map[string]json.RawMessage{
		"apiVersion": head["apiVersion"], "kind": head["kind"], "metadata": head["metadata"], "sealed": sealed,
	})
	out.Data = data
	return out, err
}

func (c codec) Decode(o catalog.Object) (manifest.Object, error) {
	data := []byte(o.Data)
	if o.Kind == kindSecret {
		var s struct{ Sealed []byte }
		if err := json.Unmarshal(data, &s); err != nil || len(s.Sealed) < 12 {
			return manifest.Object{}, errors.New("not sealed")
		}
		plain, err := c.sealer.aead.Open(nil, s.Sealed[:12], s.Sealed[12:], nil)
		if err != nil {
			return manifest.Object{}, err
		}
		data = plain
	}
	objects, problems := manifest.Parse("catalog", data)
	if len(objects) != 1 || len(problems) > 0 {
		return manifest.Object{}, errors.New("not one manifest")
	}
	objects[0].Created = o.Origin
	return objects[0], nil
}

type sealer struct{ aead cipher.AEAD }

func newSealer(t *testing.T) sealer {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{aead}
}

func (s sealer) Seal(name string, plain []byte) ([]byte, error) {
	nonce := make([]byte, 12)
	rand.Read(nonce)
	return s.aead.Seal(nonce, nonce, plain, []byte(name)), nil
}

func (s sealer) Open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) < 12 {
		return nil, errors.New("too short")
	}
	return s.aead.Open(nil, sealed[:12], sealed[12:], []byte(name))
}

// buffer collects what is written; safe for concurrent use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// audit returns the audit lines so far, without their time.
func (w *world) audit() []string {
	var lines []string
	for line := range strings.Lines(w.log.String()) {
		if strings.Contains(line, "msg=admin ") {
			_, rest, _ := strings.Cut(strings.TrimSpace(line), " actor=")
			lines = append(lines, "actor="+rest)
		}
	}
	return slices.Clip(lines)
}

// shortOfBreath is a catalog that goes away after some writes, and is back then.
type shortOfBreath struct {
	Objects
	writes int
}

func (s *shortOfBreath) Apply(ctx context.Context, owner string, obj catalog.Object, opt catalog.ApplyOptions) (catalog.Object, catalog.Change, error) {
	if s.writes--; s.writes == -1 {
		return catalog.Object{}, "", catalog.ErrUnavailable
	}
	return s.Objects.Apply(ctx, owner, obj, opt)
}
