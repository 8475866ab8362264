package gateway

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/errors.md")

const errorsDoc = "../docs/errors.md"

// errorsPage is docs/errors.md: made from the table that answers requests, so that it cannot lag behind.
func errorsPage() string {
	var b strings.Builder
	b.WriteString(`# Refusals

Every answer that Penstock makes itself, instead of the destination, carries

- ` + "`Proxy-Status`" + ` (RFC 9209): who refused, the error type, ` + "`details`" + ` with the reason below, and ` + "`executed`" + `: ` + "`no`" + ` (nothing of the
  request was executed), ` + "`maybe`" + ` (it may have been: ask the destination before you send it again);
- ` + "`X-Request-Id`" + `: give it to ` + "`penstock why`" + `, which tells the cause in full and what to change;
- ` + "`Cache-Control: no-store`" + `, and a small JSON body: ` + "`{\"error\": reason, \"requestId\": id, \"message\": text}`" + `.

What a workload sees is short. Addresses, names of credentials and causes stay with the operators. An unknown Backend and
one that is not granted look the same. Answers to gRPC requests are trailers-only, with the status in ` + "`grpc-status`" + `.

A loop is answered 508 with ` + "`x-should-retry: false`" + `; its details are ` + "`path`, `hops`, `external` or `self-dial`" + `.

| reason | status | error type | what happened | what to do |
|---|---|---|---|---|
`)
	reasons := slices.SortedFunc(maps.Keys(answers), func(x, y string) int {
		return cmp.Or(cmp.Compare(answers[x].status, answers[y].status), strings.Compare(x, y))
	})
	for _, reason := range reasons {
		a := answers[reason]
		fmt.Fprintf(&b, "| `%s` | %d | `%s` | %s | %s |\n", reason, a.status, a.error, a.message, remedies[reason])
	}
	b.WriteString("\nThis page is made from the code: `go test ./gateway -run TestErrorsPage -update`.\n")
	return b.String()
}

func TestErrorsPageListsEveryReason(t *testing.T) {
	if *update {
		if err := os.WriteFile(errorsDoc, []byte(errorsPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(errorsDoc)
	if err != nil {
		t.Fatalf("%v; make it with go test ./gateway -run TestErrorsPage -update", err)
	}
	if string(got) != errorsPage() {
		t.Error("docs/errors.md is not what the code says; run go test ./gateway -run TestErrorsPage -update")
	}
	for reason := range answers {
		if remedies[reason] == "" {
			t.Errorf("nobody says what to do about %s; enter it in remedies", reason)
		}
	}
}
