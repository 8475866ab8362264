package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock.dev/penstock/apis/admin"
	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/hub"
	"penstock.dev/penstock/internal/testkit/origin"
	"penstock.dev/penstock/spoke"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Libraries that keep one goroutine for the life of the process.
		goleak.IgnoreAnyFunction("net/http.(*http2serverConn).serve"),
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/pkg/v3/logutil.(*MergeLogger).outputLoop"),
	)
}

// The workloads that every spoke knows.
const (
	teamA = "Bearer team-a-token"
	teamB = "Bearer team-b-token"
)

// patience is how long a test waits for something that must come. It is spent only by a test that fails.
const patience = 30 * time.Second

// world is a folder with the files of a whole installation, and the processes that run in it.
type world struct {
	dir     string
	catalog string // folder of the hubs' manifests
	ctx     context.Context
	client  *http.Client
}

// newWorld makes the folder. Its name is short, for a unix socket's path has at most 107 bytes.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, ExpectContinueTimeout: patience}
	w := &world{
		dir: dir, catalog: filepath.Join(dir, "catalog"), ctx: t.Context(),
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	w.write(t, "catalog/gateway.yaml", hubGateway)
	w.write(t, "workloads/gateway.yaml", spokeGateway)
	return w
}

// write replaces a file of the world as an editor does.
func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(w.dir, "next")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}

// proc is one running hub or spoke.
type proc struct {
	name        string
	log, access *journal
	stop        context.CancelFunc
	ended       chan struct{} // closed when Run has returned
	err         error         // set before ended is closed
}

// start runs a process until its stop, or the end of the test, which fails if the process does.
func start(t *testing.T, name string, run func(context.Context, *proc) error) *proc {
	t.Helper()
	// Not t.Context: that one is done before the cleanups run, so all processes would end at once.
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &proc{name: name, log: &journal{}, access: &journal{}, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = run(ctx, p)
	}()
	t.Cleanup(func() {
		p.stop()
		p.wait(t)
		if t.Failed() {
			t.Logf("log of %s:\n%s", p.name, p.log.tail(25))
		}
	})
	return p
}

func (p *proc) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("%s: %v", p.name, p.err)
		}
	case <-time.After(patience):
		t.Fatalf("%s does not end", p.name)
	}
}

// hubProc is a running hub with a client of its admin API.
type hubProc struct {
	*proc
	admin   *admin.Client
	socket  string
	metrics string // URL
}

// hub runs a hub replica from a file hub.yaml in its folder. The first one holds the catalog, others join it.
func (w *world) hub(t *testing.T, name, catalogOf string) *hubProc {
	t.Helper()
	catalog := "{embedded: {listenClient: unix://state/etcd.sock}}"
	if catalogOf != "" {
		catalog = fmt.Sprintf(`{endpoints: ["unix://../%s/state/etcd.sock"]}`, catalogOf)
	}
	text := fmt.Sprintf(`
apiVersion: config.penstock.dev/v1alpha1
kind: HubConfig
name: %s
trustDomain: e2e.example.com
stateDir: state
manifests: ../catalog
catalog: %s
keyring: {file: ../keyring.json}
join: {address: "127.0.0.1:0"}
bind: {address: 127.0.0.1, ports: {"8443": 0}}
resolver:
  hosts: {origin.example.com: [127.0.0.1], second.example.com: [127.0.0.1], wrong.example.com: [127.0.0.1]}
observe: {metrics: "127.0.0.1:0", health: "127.0.0.1:0", logLevel: debug}
`, name, catalog)
	file := name + "/hub.yaml"
	w.write(t, file, text)
	cfg, err := configv1alpha1.LoadHub(filepath.Join(w.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	h := &hubProc{socket: cfg.Admin.Socket}
	h.proc = start(t, name, func(ctx context.Context, p *proc) error {
		return hub.Run(ctx, hub.Config{HubConfig: *cfg, Log: p.log, Access: p.access, Version: "e2e"})
	})
	h.metrics = "http://" + h.listening(t, "metrics") + "/metrics"
	if h.admin, err = admin.New(admin.Config{Socket: cfg.Admin.Socket}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.admin.Close)
	w.ready(t, h.proc)
	w.applied(t, h)
	return h
}

// applied waits until a hub serves what the folder of manifests holds.
func (w *world) applied(t *testing.T, h *hubProc) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.catalog, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"Backend", "EgressGrant", "Credential", "Cluster"} {
			want[kind] += strings.Count(string(data), "\nkind: "+kind+"\n")
		}
	}
	eventually(t, h.name+" serves the folder", func() error {
		status, err := h.admin.Status(w.ctx)
		if err != nil {
			return err
		}
		for kind, n := range want {
			if status.Objects[kind] < n {
				return fmt.Errorf("%d of %d objects of kind %s", status.Objects[kind], n, kind)
			}
		}
		return nil
	})
}

// spokeProc is a running spoke.
type spokeProc struct {
	*proc
	url     string // of the listener for workloads
	metrics string
}

// spoke registers a cluster and runs its spoke from a file spoke.yaml in its folder. callers are added to teamA and teamB.
func (w *world) spoke(t *testing.T, h *hubProc, cluster, callers string) *spokeProc {
	t.Helper()
	bundle, err := h.admin.RegisterCluster(w.ctx, admin.RegisterRequest{Name: cluster})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(bundle)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, cluster+"/bundle.json", string(data))
	file := cluster + "/spoke.yaml"
	w.write(t, file, fmt.Sprintf(`
apiVersion: config.penstock.dev/v1alpha1
kind: SpokeConfig
name: %s
stateDir: state
manifests: ../workloads
parent: {bundle: bundle.json}
callers:
  - {namespace: team-a, serviceAccount: bot, tokenSHA256: %s}
  - {namespace: team-b, serviceAccount: bot, tokenSHA256: %s}
%s
bind: {address: 127.0.0.1, ports: {"80": 0, "443": 0}}
observe: {metrics: "127.0.0.1:0", health: "127.0.0.1:0", logLevel: debug}
`, cluster, hashed(teamA), hashed(teamB), callers))
	cfg, err := configv1alpha1.LoadSpoke(filepath.Join(w.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	s := &spokeProc{}
	s.proc = start(t, cluster, func(ctx context.Context, p *proc) error {
		return spoke.Run(ctx, spoke.Config{SpokeConfig: *cfg, Log: p.log, Access: p.access, Version: "e2e"})
	})
	s.url = "http://" + s.listening(t, "workloads")
	s.metrics = "http://" + s.listening(t, "metrics") + "/metrics"
	w.ready(t, s.proc)
	return s
}

// hashed is the SHA-256 of a bearer token, as a spoke's configuration wants it.
func hashed(bearer string) string {
	sum := sha256.Sum256([]byte(strings.TrimPrefix(bearer, "Bearer ")))
	return hex.EncodeToString(sum[:])
}

// listening is the address that a process logged for a purpose.
func (p *proc) listening(t *testing.T, purpose string) (address string) {
	t.Helper()
	eventually(t, p.name+" listens for "+purpose, func() error {
		select {
		case <-p.ended:
			t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.log.tail(20))
		default:
		}
		for _, line := range p.log.lines() {
			if line["msg"] == "listening" && line["for"] == purpose {
				address, _ = line["address"].(string)
				return nil
			}
		}
		return errors.New("no such line in the log")
	})
	return address
}

// ready waits for a process's own /readyz.
func (w *world) ready(t *testing.T, p *proc) {
	t.Helper()
	url := "http://" + p.listening(t, "health") + "/readyz"
	eventually(t, p.name+" is ready", func() error {
		status, body := w.fetch(t, url)
		if status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// fetch GETs something of an operator's.
func (w *world) fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// eventually asks again until it is so.
func eventually(t *testing.T, what string, is func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		err := is()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not after %v: %v", what, patience, err)
		}
	}
}

// journal is a log in memory.
type journal struct {
	mu   sync.Mutex
	text []byte
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return string(j.text)
}

func (j *journal) lines() (lines []map[string]any) {
	for text := range strings.Lines(j.String()) {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines
}

func (j *journal) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(j.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// call is what a workload sends; zero fields mean GET, teamA and no body.
type call struct {
	method, host, path string
	caller             string // Authorization
	header             map[string]string
	body               io.Reader
	size               int64 // of a body that does not tell its length
}

// answer is what it gets, whole.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
	err     error // of reading the body
}

func (a answer) id() string { return a.header.Get("X-Request-Id") }

// open sends a call and returns the answer with its body still to be read.
func (w *world) open(t *testing.T, s *spokeProc, c call) *http.Response {
	t.Helper()
	res, err := w.try(w.ctx, s, c)
	if err != nil {
		t.Fatalf("%s %s%s: %v", c.method, c.host, c.path, err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func (w *world) try(ctx context.Context, s *spokeProc, c call) (*http.Response, error) {
	if c.method == "" {
		c.method = http.MethodGet
	}
	if c.caller == "" {
		c.caller = teamA
	}
	req, err := http.NewRequestWithContext(ctx, c.method, s.url+c.path, c.body)
	if err != nil {
		return nil, err
	}
	req.Host = c.host
	if c.size > 0 {
		req.ContentLength = c.size
	}
	req.Header.Set("Authorization", c.caller)
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	return w.client.Do(req)
}

// send sends a call and reads the answer.
func (w *world) send(t *testing.T, s *spokeProc, c call) answer {
	t.Helper()
	res := w.open(t, s, c)
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, res.Trailer, string(body), err}
}

// originCA is the ConfigMap that Backends trust an origin by.
func originCA(o *origin.Origin) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: origin-ca, namespace: ai}\ndata:\n  ca.crt: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(o.CA.PEM()), "\n", "\n    ") + "\n"
}

// backend is a Backend at an origin with a grant to team-a of every cluster. egress is added to spec.egress, in YAML flow
// form; empty: nothing.
func backend(name, host string, port int, egress string) string {
	return fmt.Sprintf(`
apiVersion: penstock.dev/v1alpha1
kind: Backend
metadata: {name: %[1]s, namespace: ai}
spec:
  type: ExternalHostname
  externalHostname: {hostname: %[2]s}
  port: {number: %[3]d}
  tls: {mode: ServerOnly, validation: {caCertificateRefs: [{kind: ConfigMap, name: origin-ca}]}}
  egress: {addressPolicy: {allowedCIDRs: [127.0.0.0/8]}%[4]s}
---
apiVersion: penstock.dev/v1alpha1
kind: EgressGrant
metadata: {name: %[1]s, namespace: ai}
spec: {to: [{name: %[1]s}], from: [{namespaces: [team-a]}]}
---`, name, host, port, egress)
}

// with is the egress that writes a credential.
func with(credential string) string {
	return fmt.Sprintf(", filters: [{name: key, type: 'penstock.dev/CredentialInjector:v1', config: {credentialRef: {name: %s}}}]", credential)
}

// credential is a Credential that may go to the origin's name and to one that its certificate lacks. place is added to its spec; empty: nothing.
func credential(name, kind, place string) string {
	return fmt.Sprintf(`
apiVersion: penstock.dev/v1alpha1
kind: Credential
metadata: {name: %s, namespace: ai}
spec: {kind: %s, hosts: [origin.example.com, wrong.example.com]%s}
---`, name, kind, place)
}

const hubGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock-hub}
spec: {controllerName: penstock.dev/hub-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: hub, namespace: penstock-system}
spec:
  gatewayClassName: penstock-hub
  listeners: [{name: tunnel, protocol: penstock.dev/Tunnel, port: 8443, allowedRoutes: {namespaces: {from: All}}}]
`

const spokeGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/spoke-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: egress, namespace: penstock-system}
spec:
  gatewayClassName: penstock
  listeners: [{name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}]
`
