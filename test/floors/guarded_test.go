package floors

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guarded are words that stand in one place only (STYLE.md, One place for each concern).
var guarded = []struct {
	word *regexp.Regexp
	only []string // files, or folders with a slash at the end
	why  string
}{
	{
		regexp.MustCompile(`InsecureSkipVerify:\s*true`),
		[]string{"tunnel/identity.go", "gateway/endpoint/tls.go"},
		"a check that is left to us must be read as a whole: tunnels know no host names; with subjectAltNames the SNI is not the name that is checked",
	},
	{regexp.MustCompile(`\.Reveal\(\)`), []string{"hub/credential/"}, "only hub/credential reveals a secret"},
	{regexp.MustCompile(`"(?i:penstock-(path|budget|request-id|subject|not-processed|attempts))"|"(CDN-Loop|Cdn-Loop)"`), []string{"gateway/hop/", "examples/provider/"}, "only hop spells a tag's name"},
	{regexp.MustCompile(`prometheus\.(New|Must)`), []string{"gateway/telemetry/"}, "only telemetry registers metrics"},
	{
		regexp.MustCompile(`PeerCertificates`),
		[]string{"tunnel/", "gateway/endpoint/tls.go", "hub/admin/"},
		"only tunnel reads a gateway's certificate; endpoint reads a destination's, the admin API its callers'",
	},
	{regexp.MustCompile(`func init\(\)`), nil, "no init: what is needed is passed"},
}

func TestGuardedWordsStandInOnePlace(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && rel != "." || rel == "internal/testkit" || rel == "bench" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") || inKit(filepath.ToSlash(filepath.Dir(rel))) {
			return nil
		}
		seen++
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, g := range guarded {
			allowed := slices.ContainsFunc(g.only, func(o string) bool {
				return rel == o || strings.HasSuffix(o, "/") && strings.HasPrefix(filepath.ToSlash(rel), o)
			})
			if m := g.word.Find(src); m != nil && !allowed {
				t.Errorf("%s has %q: %s", rel, m, g.why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 100 {
		t.Fatalf("only %d files were looked at", seen)
	}
}
