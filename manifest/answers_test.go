package manifest

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"penstock.dev/penstock/gateway/route"
)

// A golden case may hold requests.txt: one request a line, as "GET http://host:port/path Header=value @cluster=east". What
// the table answers stands in want/answers.txt: which rule has the request, and where it leads. A table shows what was
// written; only a request shows which of two rules wins.

// TestGoldenAnswers asks each case's table its requests.
func TestGoldenAnswers(t *testing.T) {
	asked := 0
	for _, name := range goldenFiles(t) {
		c := readCase(t, name)
		i := indexFile(c.archive, "requests.txt")
		if i < 0 {
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			var all [][]Object
			for _, f := range c.files {
				all = append(all, parse(t, f.Name, string(f.Data)))
			}
			set, _ := NewSet(all...)
			snapshot, _ := Translate(set, c.options)
			table, err := snapshot.Compile()
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for line := range strings.Lines(string(c.archive.Files[i].Data)) {
				line = strings.TrimSpace(line)
				fmt.Fprintf(&got, "%s\n  %s\n", line, answer(table.Decide(query(t, line))))
				asked++
			}
			if *update {
				writeWants(t, name, c.archive, []txtar.File{{Name: "want/answers.txt", Data: []byte(got.String())}})
				return
			}
			want := indexFile(c.archive, "want/answers.txt")
			if want < 0 {
				t.Fatal("want/answers.txt is missing; run: go test ./manifest/ -run TestGoldenAnswers -update")
			}
			if diff := cmp.Diff(string(c.archive.Files[want].Data), got.String()); diff != "" {
				t.Errorf("want/answers.txt (-want +got; if it is meant, run: go test ./manifest/ -run TestGoldenAnswers -update):\n%s", diff)
			}
		})
	}
	if asked == 0 {
		t.Error("no case holds a request")
	}
}

// query reads a request.
func query(t *testing.T, line string) route.Query {
	t.Helper()
	words := strings.Fields(line)
	if len(words) < 2 {
		t.Fatalf("%q: want a method and a URL", line)
	}
	u, err := url.Parse(words[1])
	if err != nil {
		t.Fatal(err)
	}
	q := route.Query{Method: words[0], Host: strings.ToLower(u.Hostname()), Path: u.EscapedPath(), Values: u.Query(), Header: http.Header{}}
	switch u.Scheme {
	case "http":
		q.Protocol, q.Port = route.ProtocolHTTP, 80
	case "https":
		q.Protocol, q.Port, q.ServerName = route.ProtocolHTTPS, 443, u.Hostname()
	case "tunnel":
		q.Protocol, q.Port, q.Proof = route.ProtocolTunnel, 8443, "token"
	default:
		t.Fatalf("%q: want scheme http, https or tunnel", line)
	}
	if u.Port() != "" {
		if q.Port, err = strconv.Atoi(u.Port()); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "@cluster":
			q.Cluster = value
		case "@namespace":
			q.Namespace = value
		default:
			q.Header.Add(name, value)
		}
	}
	return q
}

// answer is a decision on one line. All targets of the rule are named, whichever was drawn.
func answer(d route.Decision) string {
	if d.Rule == nil {
		return string(d.Reason)
	}
	var to []string
	for _, t := range d.Rule.Targets {
		what := t.Backend
		switch {
		case t.Redirect != nil:
			what = fmt.Sprintf("redirect %d", t.Redirect.StatusCode)
		case t.Invalid != "":
			reason, _, _ := strings.Cut(t.Invalid, ":")
			what = "500 " + reason
		}
		if len(d.Rule.Targets) > 1 {
			what = fmt.Sprintf("%s (%d)", what, t.Weight)
		}
		to = append(to, what)
	}
	if len(to) == 0 {
		to = []string{"nothing"}
	}
	out := fmt.Sprintf("%s rule %s on %s: %s", d.Rule.Route, d.Rule.Name, d.Listener.Name, strings.Join(to, ", "))
	if d.Reason != route.None {
		out += " [" + string(d.Reason) + "]"
	}
	return out
}
