// Command suite runs the project's tests the way `make test` and `make check` need them: with the race detector for all
// that links neither Kubernetes nor the etcd server, without it for the rest (their instrumented builds take longer
// than the tests), and a count at the end that a machine can read.
//
//	suite test     vet and all tests; the heavy packages without -race
//	suite race     the tests that `test` ran without -race, with it
//	suite fuzz D   every fuzz target for duration D in all, or with D like 10000000x for so many inputs in all
//	suite interop  the tests with programs of other makers, which it installs where they are missing (Debian, root)
//
// The last line is "N passed, N failed". The exit code is 1 if anything failed.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const module = "penstock.dev/penstock"

// heavy are the libraries whose race-instrumented build is left to `suite race`.
var heavy = []string{"k8s.io/apimachinery/", "go.etcd.io/etcd/server/"}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: suite test|race|interop|fuzz DURATION")
		os.Exit(2)
	}
	var passed, failed int
	var err error
	switch os.Args[1] {
	case "test":
		passed, failed, err = test()
	case "race":
		passed, failed, err = race()
	case "fuzz":
		passed, failed, err = fuzz(strings.Join(os.Args[2:], ""))
	case "interop":
		passed, failed, err = interop()
	default:
		fmt.Fprintf(os.Stderr, "suite: unknown suite %q\n", os.Args[1])
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		failed++
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func test() (passed, failed int, err error) {
	if err := run("go", "vet", "./..."); err != nil {
		return 0, 1, err
	}
	light, rest, err := split()
	if err != nil {
		return 0, 1, err
	}
	for _, s := range []struct {
		flags, pkgs []string
	}{{[]string{"-race"}, light}, {nil, rest}} {
		p, f := goTest(s.flags, s.pkgs)
		passed, failed = passed+p, failed+f
	}
	return passed, failed, nil
}

func race() (passed, failed int, err error) {
	_, rest, err := split()
	if err != nil {
		return 0, 1, err
	}
	passed, failed = goTest([]string{"-race"}, rest)
	return passed, failed, nil
}

// split sorts the packages that have tests by whether they, or their tests, link a heavy library.
func split() (light, rest []string, err error) {
	out, err := output("go", "list", "-test", "-f", `{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}`, "./...")
	if err != nil {
		return nil, nil, err
	}
	for _, pkg := range strings.Fields(out) {
		if strings.ContainsAny(pkg, "[.test") && strings.HasSuffix(pkg, ".test") {
			continue
		}
		if !strings.HasPrefix(pkg, module) || slices.Contains(light, pkg) || slices.Contains(rest, pkg) {
			continue
		}
		deps, err := output("go", "list", "-deps", "-test", pkg)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(heavy, func(h string) bool { return strings.Contains(deps, h) }) {
			rest = append(rest, pkg)
		} else {
			light = append(light, pkg)
		}
	}
	return light, rest, nil
}

// goTest runs go test and counts tests, subtests included. A package that fails without a failing test (it does not
// build, it panics in TestMain) counts as one failure.
func goTest(flags, pkgs []string) (passed, failed int) {
	if len(pkgs) == 0 {
		return 0, 0
	}
	args := append([]string{"test", "-json", "-timeout=12m"}, flags...)
	cmd := exec.Command("go", append(args, pkgs...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0, 1
	}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 0, 1
	}
	logs := map[string][]string{}  // output of each test until it ends
	broken := map[string]bool{}    // packages in which a test failed
	lines := bufio.NewScanner(out) // one JSON value a line
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var e struct {
			Action, Package, Test, Output string
			Elapsed                       float64
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		key := e.Package + " " + e.Test
		short := strings.TrimPrefix(e.Package, module+"/")
		switch e.Action {
		case "output", "build-output":
			logs[key] = append(logs[key], e.Output)
		case "pass":
			if e.Test != "" {
				passed++
			} else {
				fmt.Printf("ok    %-28s %6.1fs %s\n", short, e.Elapsed, strings.Join(flags, " "))
			}
			delete(logs, key)
		case "skip":
			if e.Test != "" { // no test of this project may skip itself
				fmt.Printf("SKIP  %s %s\n", short, e.Test)
				failed++
			}
		case "fail":
			if e.Test != "" {
				failed++
				broken[e.Package] = true
			} else {
				if !broken[e.Package] {
					failed++
				}
				fmt.Printf("FAIL  %s\n", short)
			}
			fmt.Print(strings.Join(logs[key], ""))
			delete(logs, key)
		}
	}
	if err := cmd.Wait(); err != nil && failed == 0 {
		for _, l := range logs {
			fmt.Print(strings.Join(l, ""))
		}
		fmt.Fprintln(os.Stderr, "go test:", err)
		failed++
	}
	return passed, failed
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]+)\(f \*testing\.F\)`)

// fuzz gives every target its share of total, a duration or a number of inputs like "1000x": at least 2 s, or one input.
func fuzz(total string) (passed, failed int, err error) {
	type target struct{ dir, name string }
	var targets []target
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range fuzzFunc.FindAllSubmatch(src, -1) {
			targets = append(targets, target{"./" + filepath.Dir(path), string(m[1])})
		}
		return nil
	})
	if err != nil || len(targets) == 0 {
		return 0, 1, fmt.Errorf("find fuzz targets: %d found: %w", len(targets), err)
	}
	share, err := shareOf(total, len(targets))
	if err != nil {
		return 0, 1, err
	}
	began, inputs := time.Now(), 0
	for _, f := range targets {
		// Without a bound on minimizing, all the time goes into making large seeds small.
		n, err := fuzzOne("-run=^$", "-fuzz=^"+f.name+"$", "-fuzztime="+share, "-fuzzminimizetime=1x", f.dir)
		inputs += n
		fmt.Printf("fuzz  %s %s: %d inputs\n", f.dir, f.name, n)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			failed++
			continue
		}
		passed++
	}
	fmt.Printf("%d inputs to %d targets in %v\n", inputs, len(targets), time.Since(began).Round(time.Second))
	return passed, failed, nil
}

func shareOf(total string, targets int) (string, error) {
	if number, ok := strings.CutSuffix(total, "x"); ok {
		n, err := strconv.Atoi(number)
		return fmt.Sprintf("%dx", max(n/targets, 1)), err
	}
	d, err := time.ParseDuration(total)
	return max(d/time.Duration(targets), 2*time.Second).String(), err
}

var fuzzExecs = regexp.MustCompile(`execs: (\d+)`)

// fuzzOne runs one target and returns the number of inputs that it saw. What it prints is shown only if it fails.
func fuzzOne(args ...string) (inputs int, err error) {
	var out []byte
	for range 2 {
		out, err = exec.Command("go", append([]string{"test"}, args...)...).CombinedOutput()
		// The engine's own deadline, now and then met by a worker that was about to stop: it says nothing of any input.
		if err == nil || !bytes.Contains(out, []byte("    context deadline exceeded\n")) || bytes.Contains(out, []byte("Failing input")) {
			break
		}
	}
	for _, m := range fuzzExecs.FindAllSubmatch(out, -1) {
		inputs, _ = strconv.Atoi(string(m[1]))
	}
	if err != nil {
		return inputs, fmt.Errorf("go test %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return inputs, nil
}

// programs of other makers, by the Debian package that has them.
var programs = map[string]string{
	"curl": "curl", "nghttp": "nghttp2-client", "h2load": "nghttp2-client", "chromium": "chromium", "slowhttptest": "slowhttptest",
	"nginx": "nginx-light", "apache2": "apache2", "haproxy": "haproxy", "node": "nodejs", "nft": "nftables", "ip": "iproute2",
}

// interop installs what is missing and runs the tests that need it.
func interop() (passed, failed int, err error) {
	var missing []string
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil && !slices.Contains(missing, pkg) {
			missing = append(missing, pkg)
		}
	}
	if slices.Sort(missing); len(missing) > 0 {
		if err := run("apt-get", "update", "-qq"); err != nil {
			return 0, 1, err
		}
		if err := run("apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)...); err != nil {
			return 0, 1, fmt.Errorf("install what is missing (Debian, root): %w", err)
		}
	}
	passed, failed = goTest([]string{"-tags=interop", "-run=^TestInterop"}, []string{"./test/e2e", "./gateway/endpoint"})
	return passed, failed, nil
}

func run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
