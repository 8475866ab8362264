package demo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"penstock.dev/penstock/examples"
	"penstock.dev/penstock/internal/process"
)

// Config of a demo.
type Config struct {
	// Bin is the folder with the programs hub, spoke, penstock and provider.
	Bin string
	// Dir is the state folder; it is made anew.
	Dir string
	// Once ends after the checks; otherwise the topology stays up until ctx is done.
	Once bool
	// Out is where it tells what it sees.
	Out io.Writer
	// Color marks good and bad lines.
	Color bool
}

// The addresses of the topology, as in examples/standalone.
const (
	hubA, hubB       = "127.0.0.11", "127.0.0.12"
	east, west, edge = "http://127.0.0.21:8080", "http://127.0.0.22:8080", "http://127.0.0.23:8080"
	providerAPI      = "127.0.0.31:8443"
	providerControl  = "127.0.0.31:9000"
)

// ErrFailed: a check did not hold.
var ErrFailed = errors.New("demo: a check failed")

// demo is one run.
type demo struct {
	cfg    Config
	w      *world
	failed int
	passed int
	// keys are the provider's API keys in the order of their use; made for this run, so that a leak can be found.
	keys  []string
	procs map[string]*process.Process
}

// Run sets the topology up, checks it and, unless Once, keeps it up until ctx is done. It returns ErrFailed when a check
// did not hold; whatever happens, everything it started has ended when it returns.
func Run(ctx context.Context, cfg Config) error {
	bin, err := filepath.Abs(cfg.Bin)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return err
	}
	d := &demo{cfg: cfg, w: &world{dir: dir, bin: bin}, procs: map[string]*process.Process{}}
	defer d.w.down()
	if err := d.unpack(); err != nil {
		return err
	}
	if err := d.up(ctx); err != nil {
		return err
	}
	d.checks(ctx)
	if ctx.Err() != nil {
		return nil // Ctrl-C is an answer, not a failure
	}
	fmt.Fprintf(cfg.Out, "\n%d passed, %d failed\n", d.passed, d.failed)
	if !cfg.Once {
		d.tour()
		<-ctx.Done()
		return nil
	}
	if d.failed > 0 {
		return ErrFailed
	}
	return nil
}

// unpack copies examples/standalone into a fresh state folder. A folder that is not a demo's own is left alone.
func (d *demo) unpack() error {
	marker := filepath.Join(d.w.dir, "README.md")
	if _, err := os.Stat(d.w.dir); err == nil {
		if _, err := os.Stat(marker); err != nil {
			return fmt.Errorf("demo: %s exists and is not a demo's folder; give another with --dir", d.w.dir)
		}
		if err := os.RemoveAll(d.w.dir); err != nil {
			return err
		}
	}
	const root = "standalone"
	return fs.WalkDir(examples.Standalone, root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(d.w.dir, rel)
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		data, err := examples.Standalone.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o600)
	})
}

// up starts everything in the order a user would.
func (d *demo) up(ctx context.Context) error {
	d.title("Start: a provider, two hubs on one catalog, two spokes, one gateway without a hub")
	caFile := filepath.Join(d.w.dir, "provider-ca.pem")
	if err := d.run(ctx, "provider", "provider", "http://"+providerControl+"/arrivals",
		"-listen", providerAPI, "-control", providerControl, "-ca-out", caFile, "-callback", east+"/v1/models", "-callback-host", "openai"); err != nil {
		return err
	}
	d.newKey()
	if err := d.accept(ctx, d.keys...); err != nil {
		return err
	}
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	for folder, namespace := range map[string]string{"catalog": "ai", "edge-manifests": "team-a"} {
		if err := os.WriteFile(filepath.Join(d.w.dir, folder, "provider-ca.yaml"), configMap(namespace, ca), 0o600); err != nil {
			return err
		}
	}
	if err := d.run(ctx, "hub-a", "hub", "http://"+hubA+":8081/readyz", "--config", "hub.yaml"); err != nil {
		return err
	}
	if err := d.run(ctx, "hub-b", "hub", "http://"+hubB+":8081/readyz", "--config", "hub.yaml"); err != nil {
		return err
	}
	d.command(`penstock credential set ai/openai-key < key`)
	if _, err := d.w.penstock(ctx, "hub-a", d.keys[0], "credential", "set", "ai/openai-key"); err != nil {
		return err
	}
	for _, name := range []string{"east", "west"} {
		d.command("penstock cluster register " + name + " --labels region=" + name + " --out " + name + "/bundle.json")
		if _, err := d.w.penstock(ctx, "hub-a", "", "cluster", "register", name, "--labels", "region="+name,
			"--out", filepath.Join(d.w.dir, name, "bundle.json")); err != nil {
			return err
		}
	}
	for name, address := range map[string]string{"east": "127.0.0.21", "west": "127.0.0.22", "edge": "127.0.0.23"} {
		if err := d.run(ctx, name, "spoke", "http://"+address+":8081/readyz", "--config", "spoke.yaml"); err != nil {
			return err
		}
	}
	return nil
}

// run starts a program and waits until the URL ready answers.
func (d *demo) run(ctx context.Context, name, program, ready string, args ...string) error {
	if err := unused(ctx, ready); err != nil {
		return err
	}
	p, err := d.w.start(name, program, args...)
	if err != nil {
		return err
	}
	d.procs[name] = p
	began := time.Now()
	if err := p.Ready(ctx, ready); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(d.cfg.Out, "  %-9s ready after %4d ms   (log: %s)\n", name, time.Since(began).Milliseconds(), d.show(p.Log()))
	return nil
}

// unused fails if somebody else answers where a program of ours is to listen: it would be taken for ours.
func unused(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil
	}
	_ = c.Close() // nothing was sent
	return fmt.Errorf("demo: somebody listens on %s already; is another demo running? End it first", u.Host)
}

// show is a path as a person at this prompt would write it.
func (d *demo) show(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}

// newKey makes the provider's next API key.
func (d *demo) newKey() string {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand does not fail (Go 1.24)
	}
	key := "sk-demo-" + hex.EncodeToString(b)
	d.keys = append(d.keys, key)
	return key
}

// accept tells the provider which keys are good from now on.
func (d *demo) accept(ctx context.Context, keys ...string) error {
	return d.control(ctx, "/keys", strings.NewReader(strings.Join(keys, "\n")))
}

func (d *demo) control(ctx context.Context, path string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+providerControl+path, body)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("provider: %s: %s", path, res.Status)
	}
	return nil
}

// arrivals is what the provider says it has seen.
type arrivals struct {
	Paths     map[string]int `json:"paths"`
	IDs       map[string]int `json:"ids"`
	Leaks     []string       `json:"leaks"`
	WrongKeys int            `json:"wrongKeys"`
}

func (d *demo) arrivals(ctx context.Context) (a arrivals, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+providerControl+"/arrivals", nil)
	if err != nil {
		return a, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	return a, json.NewDecoder(res.Body).Decode(&a)
}

// configMap is the provider's CA as the Backend's caCertificateRefs want it.
func configMap(namespace string, ca []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: provider-ca\n  namespace: %s\ndata:\n  ca.crt: |\n", namespace)
	for line := range bytes.Lines(ca) {
		fmt.Fprintf(&b, "    %s", line)
	}
	return b.Bytes()
}

func (d *demo) title(text string) { fmt.Fprintf(d.cfg.Out, "\n%s\n", text) }

func (d *demo) command(text string) { fmt.Fprintf(d.cfg.Out, "  $ %s\n", text) }

// detail prints lines below a check.
func (d *demo) detail(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(d.cfg.Out, "      %s\n", strings.TrimRight(line, "\n"))
	}
}

// check prints one checked line.
func (d *demo) check(good bool, format string, args ...any) {
	mark, color := "√", "\x1b[32m"
	if good {
		d.passed++
	} else {
		d.failed++
		mark, color = "×", "\x1b[31m"
	}
	if d.cfg.Color {
		mark = color + mark + "\x1b[0m"
	}
	fmt.Fprintf(d.cfg.Out, "  %s %s\n", mark, fmt.Sprintf(format, args...))
}

// tour says what to try while the topology is up.
func (d *demo) tour() {
	socket := d.show(filepath.Join(d.w.dir, "hub-a", "state", "admin.sock"))
	fmt.Fprintf(d.cfg.Out, `
The topology stays up; Ctrl-C ends it. Try, in another terminal:

  curl -H 'Host: openai' -H 'Authorization: Bearer team-a-token' %s/v1/models
  curl -H 'Host: openai' -H 'Authorization: Bearer team-b-token' %s/v1/models

  export PENSTOCK_SOCKET=%s
  %[4]s status
  %[4]s cluster list
  %[4]s explain east/team-a/bot http://openai/v1/models
  %[4]s why <request id of a refused request>
`, east, east, socket, d.show(filepath.Join(d.w.bin, "penstock")))
}
