package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/pkg/features"
)

const routingDoc = "../docs/routing.md"

// The part of the page between these lines is the table.
const tableBegin, tableEnd = "<!-- the table is made from the code -->\n", "<!-- its end -->\n"

func supportTable() string {
	var b strings.Builder
	b.WriteString("| kind | what | | how |\n|---|---|---|---|\n")
	for _, f := range Features() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Kind, f.Field, f.Support, f.Says)
	}
	return b.String()
}

// TestEachFeatureHasItsCase: a row without a golden case is a claim, and a case without a row is not known to users.
func TestEachFeatureHasItsCase(t *testing.T) {
	known := map[string]bool{}
	for name := range features.AllFeatures {
		known[string(name.Name)] = true
	}
	var cases []string
	for _, f := range Features() {
		cases = append(cases, f.Case)
		if _, err := os.Stat("testdata/translate/" + f.Case + ".txtar"); err != nil {
			t.Errorf("%s %s: %v", f.Kind, f.Field, err)
		}
		if f.Conformance != "" && !known[f.Conformance] {
			t.Errorf("%s %s: upstream has no feature %q", f.Kind, f.Field, f.Conformance)
		}
		if f.Says == "" || f.Support != Served && f.Support != Refused {
			t.Errorf("%s %s says too little", f.Kind, f.Field)
		}
	}
	for _, name := range goldenFiles(t) {
		if base := strings.TrimSuffix(filepath.Base(name), ".txtar"); !slices.Contains(cases, base) {
			t.Errorf("case %s is in no row of Features", base)
		}
	}
}

func TestTheRoutingPageHasTheTable(t *testing.T) {
	page, err := os.ReadFile(routingDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), tableBegin)
	old, tail, end := strings.Cut(rest, tableEnd)
	if !ok || !end {
		t.Fatalf("%s does not say where the table stands", routingDoc)
	}
	if *update {
		if err := os.WriteFile(routingDoc, []byte(head+tableBegin+supportTable()+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != supportTable() {
		t.Errorf("%s is not what the code says; run go test ./manifest -run TestTheRoutingPage -update", routingDoc)
	}
}
