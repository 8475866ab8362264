// Package docs runs what the documentation shows: the README's tour against the demo's running topology, and every
// manifest and configuration file in docs/ through the code that reads them.
package docs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/manifest"
)

const root = "../.."

// fence is one fenced block of a Markdown file.
type fence struct {
	language, text string
	line           int
}

var fenceLine = regexp.MustCompile("^```(.*)$")

func fences(t *testing.T, file string) (all []fence) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	var open *fence
	for i, line := range strings.Split(string(data), "\n") {
		m := fenceLine.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			open = &fence{language: m[1], line: i + 2}
		case m != nil:
			all, open = append(all, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: the block is not closed", file, open.line)
	}
	return all
}

// step is one command of a console block and what it should print; "..." stands for anything.
type step struct {
	command, want string
	line          int
}

func steps(f fence) (all []step) {
	for i, line := range strings.Split(strings.TrimSuffix(f.text, "\n"), "\n") {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, step{command: command, line: f.line + i})
		} else if len(all) > 0 {
			all[len(all)-1].want += line + "\n"
		}
	}
	return all
}

// matches reports whether got is want, where "..." in want stands for anything.
func matches(want, got string) bool {
	parts := strings.Split(strings.TrimSpace(want), "...")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(strings.TrimSpace(got))
}

// tour are the pages whose commands are typed, one after the other, while the demo is up.
var tour = []string{"README.md", "docs/standalone.md", "docs/credentials.md", "docs/admin.md"}

func TestEveryCommandInTheDocsRunsAgainstTheDemo(t *testing.T) {
	dir := t.TempDir()
	build(t, filepath.Join(dir, "bin"))
	startDemo(t, dir)
	env := append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	for _, page := range tour {
		env = walk(t, dir, page, env)
	}
}

// walk types the commands of one page and returns the environment they leave.
func walk(t *testing.T, dir, page string, env []string) []string {
	t.Helper()
	ran := 0
	for _, f := range fences(t, page) {
		if f.language != "console" {
			continue
		}
		for _, s := range steps(f) {
			if v, ok := strings.CutPrefix(s.command, "export "); ok {
				env = append(env, v)
				continue
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			cmd := exec.CommandContext(ctx, "bash", "-c", s.command)
			cmd.Dir, cmd.Env = dir, env
			out, err := cmd.CombinedOutput()
			cancel()
			// A command that is meant to be refused exits with another code than 0; what it prints is what counts.
			if !matches(s.want, string(out)) {
				t.Errorf("%s:%d: %s\nprinted (%v):\n%s\nwant:\n%s", page, s.line, s.command, err, out, s.want)
			}
			ran++
		}
	}
	if ran == 0 {
		t.Errorf("%s shows no command", page)
	}
	return env
}

func build(t *testing.T, bin string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./cmd/hub", "./cmd/spoke", "./cmd/penstock", "./examples/provider")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// startDemo runs the demo until the test ends and returns when all its checks have passed and the topology stays up.
func startDemo(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "bin", "penstock"), "demo", "--bin", "bin")
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		w.Close()
		ended <- err
	}()
	up := make(chan bool, 1)
	var printed strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			fmt.Fprintln(&printed, lines.Text())
			if strings.HasPrefix(lines.Text(), "The topology stays up") {
				up <- true
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		<-read
		if !strings.Contains(printed.String(), " passed, 0 failed") {
			t.Errorf("the demo printed:\n%s", printed.String())
		}
	})
	select {
	case <-up:
	case err := <-ended:
		<-read
		ended <- err
		t.Fatalf("the demo ended: %v\n%s", err, printed.String())
	case <-time.After(4 * time.Minute):
		t.Fatal("the demo is not up after 4 minutes")
	}
}

func TestEveryManifestAndConfigurationInTheDocsIsRead(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("docs: %v, %v", files, err)
	}
	validator, err := manifest.NewValidator()
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, path := range files {
		file := filepath.Join("docs", filepath.Base(path))
		for _, f := range fences(t, file) {
			where := fmt.Sprintf("%s:%d", file, f.line)
			switch {
			case f.language != "yaml":
				continue
			case strings.Contains(f.text, "kind: HubConfig"):
				_, err = configv1alpha1.ParseHub(where, []byte(f.text))
			case strings.Contains(f.text, "kind: SpokeConfig"):
				_, err = configv1alpha1.ParseSpoke(where, []byte(f.text))
			case strings.Contains(f.text, "apiVersion:"):
				_, problems := validator.Parse(where, []byte(f.text))
				if err = nil; len(problems) > 0 {
					err = problems[0]
				}
			default: // a part of a file, shown for itself
				continue
			}
			read++
			if err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
	}
	if read == 0 {
		t.Fatal("no manifest found in docs")
	}
}
