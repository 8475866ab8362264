package v1alpha1

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

const limitsDoc = "../../../docs/limits.md"

// limitsPage is docs/limits.md: made from the table that sets defaults and checks values, so that it cannot lag behind.
func limitsPage() string {
	var b strings.Builder
	b.WriteString(`# Limits

What one client, one request or one peer can take. The first table is the section ` + "`limits`" + ` of the configuration of hub and
spoke; all of it may be left out.

` + "```yaml" + `
apiVersion: config.penstock.dev/v1alpha1
kind: SpokeConfig
stateDir: state
manifests: manifests
limits: {requestMiB: 100, clientConnections: 500, bodyIdle: 30s}
` + "```" + `

| limits. | bounds | default | may be | beyond it |
|---|---|---|---|---|
`)
	for _, l := range new(LimitsConfig).bounds() {
		print := func(v any) string {
			if d, ok := v.(time.Duration); ok {
				return short(d)
			}
			return fmt.Sprint(v)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s to %s | %s |\n", l.field, l.what, print(l.standard), print(l.low), print(l.high), l.beyond)
	}
	b.WriteString(`
All but the first three are of workload listeners. Every refusal is one of those in [errors.md](errors.md), with
` + "`Proxy-Status`" + ` and a reason. What is cut off without an answer is counted by limit in ` + "`penstock_clients_cut_total`" + `.

A long poll, an event stream or a WebSocket may be silent for as long as both sides like: only a client that does not *take*
what is written to it is slow. A connection of HTTP/2 whose client takes back more than half of its requests, and has made
200, is closed (rapid reset).

## Of Backends

` + "`egress.limits`" + ` of a Backend, per hub replica: ` + "`maxInFlight`" + ` (1024) requests that wait for their answer, ` + "`maxStreams`" + ` (10000)
answers under way, and of one caller 64 and 1000 of them. Beyond them 503 ` + "`backend-busy`" + ` or 429 ` + "`caller-busy`" + `, with
` + "`Retry-After`" + `; nothing is repeated there for the longest time to response headers.

## That cannot be changed

| what | how much | beyond it |
|---|---|---|
| requests in one gateway | 20000 | 503, reason ` + "`overload`" + `; a spoke tries one other hub |
| content of one request kept for a repeat | 64 KiB, and 64 MiB of all | the request is tried once |
| copies of requests (RequestMirror) | 1 MiB behind the request itself | the copy is given up, never the request |
| head of a destination's answer | 256 KiB, 256 fields | 502, reason ` + "`response-header-size`" + ` or ` + "`protocol-error`" + ` |
| line of the chunked coding | 16 digits, no extension | 400, reason ` + "`malformed`" + ` |
| content still read after an early answer | 1 s | the connection is closed |

This page is made from the code: ` + "`go test ./apis/config/v1alpha1 -run TestLimitsPage -update`" + `.
`)
	return b.String()
}

func TestLimitsPage(t *testing.T) {
	if flag.Lookup("update").Value.String() == "true" { // the flag is of load_test.go, in the other package of this folder
		if err := os.WriteFile(limitsDoc, []byte(limitsPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(limitsDoc)
	if err != nil {
		t.Fatalf("%v; make it with go test ./apis/config/v1alpha1 -run TestLimitsPage -update", err)
	}
	if string(got) != limitsPage() {
		t.Error("docs/limits.md is not what the code says; run go test ./apis/config/v1alpha1 -run TestLimitsPage -update")
	}
}

// A field without a row would have neither default nor check.
func TestEveryLimitHasABound(t *testing.T) {
	var c LimitsConfig
	rows := map[string]bool{}
	for _, b := range c.bounds() {
		rows[b.field] = true
	}
	for i := range reflect.TypeFor[LimitsConfig]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[LimitsConfig]().Field(i).Tag.Get("json"), ",")
		if !rows[name] {
			t.Errorf("limits.%s has no bound", name)
		}
	}
}
