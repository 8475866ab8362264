package hop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The gateways of the tests. hub and other belong to one trust domain, foreign to another.
var (
	domainKeys = NewKeys([]byte("domain"), []byte("today"), []byte("yesterday"))
	spoke      = Self{Group: "9f00", Instance: "a1", Pseudonym: "pspoke"}
	hub        = Self{Group: "3c00", Instance: "b7", Pseudonym: domainKeys.Pseudonym("3c00"), Keys: domainKeys}
	other      = Self{Group: "4d00", Instance: "c3", Pseudonym: domainKeys.Pseudonym("4d00"), Keys: domainKeys}
	foreign    = Self{
		Group: "5e00", Pseudonym: "pforeign",
		Keys: NewKeys([]byte("other domain"), []byte("their key"), nil),
	}
)

// peerHeader is a good request of spoke, with changes: "" deletes.
func peerHeader(changes ...string) http.Header {
	h := http.Header{
		headerPath:      {`"9f00";i="a1"`},
		headerBudget:    {"h=3, a=3, t=29480, s=0"},
		headerRequestID: {`"01J00000000000000000000000"`},
		headerSubject:   {`ns="team-a", sa="bot", pod="uid", m=token`},
	}
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == "" {
			delete(h, changes[i])
			continue
		}
		h[changes[i]] = []string{changes[i+1]}
	}
	return h
}

// outsideTag is the CDN-Loop member that a gateway would write.
func outsideTag(self Self, hops, attempts int, sent time.Time) string {
	h := http.Header{}
	Tags{RequestID: "01J00000000000000000000000", Budget: Budget{Hops: hops + 1, Attempts: attempts}}.WriteOutside(h, self, sent)
	return h.Get(headerCDNLoop)
}

func wantKind(t *testing.T, err error, want Kind) {
	t.Helper()
	var r *Refusal
	switch {
	case want == "" && err != nil:
		t.Errorf("error = %v, want none", err)
	case want != "" && (!errors.As(err, &r) || r.Kind != want):
		t.Errorf("error = %v, want kind %s", err, want)
	}
}

func TestFromPeer(t *testing.T) {
	tags, err := FromPeer(peerHeader(), "9f00", "east", hub, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	want := Tags{
		Path:      []Entry{{"9f00", "a1"}},
		Budget:    Budget{Hops: 3, Attempts: 3, Headers: 29480 * time.Millisecond},
		RequestID: "01J00000000000000000000000",
		Subject:   Subject{Cluster: "east", Namespace: "team-a", ServiceAccount: "bot", Pod: "uid", Proof: ProofToken},
	}
	if diff := cmp.Diff(want, tags); diff != "" {
		t.Error(diff)
	}
}

// TestFromPeerRefuses: a parse failure refuses the request, it is never ignored (A.3).
func TestFromPeerRefuses(t *testing.T) {
	long := strings.Repeat("x", maxField)
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("%q", fmt.Sprint(i)))
	}
	tests := []struct {
		rule    string
		changes []string
		want    Kind
	}{
		{"a good request passes", nil, ""},
		{"a request without path", []string{headerPath, ""}, Malformed},
		{"a request without budget", []string{headerBudget, ""}, Malformed},
		{"a request without request id", []string{headerRequestID, ""}, Malformed},
		{"a request without subject is nobody's, which the table then judges", []string{headerSubject, ""}, ""},

		{"an empty path (F-60)", []string{headerPath, " "}, Malformed},
		{"a path with 10,000 entries (F-60)", []string{headerPath, strings.Join(many, ", ")}, Malformed},
		{"a path with 9 entries", []string{headerPath, strings.Join(many[:8], ", ") + `, "9f00"`}, Malformed},
		{"a path with 8 entries passes", []string{headerPath, strings.Join(many[:7], ", ") + `, "9f00"`}, ""},
		{"a path longer than 1 KiB", []string{headerPath, `"9f00";y="` + long + `"`}, Malformed},
		{"a path of tokens", []string{headerPath, "sp9f00"}, Malformed},
		{"a path with an empty id", []string{headerPath, `"", "9f00"`}, Malformed},
		{"a path with an id twice", []string{headerPath, `"9f00", "aa", "9f00"`}, Malformed},
		{"a path with a comma at the end", []string{headerPath, `"9f00",`}, Malformed},
		{"an instance that is no string", []string{headerPath, `"9f00";i=7`}, Malformed},
		{"two instances of one entry", []string{headerPath, `"9f00";i="a";i="b"`}, Malformed},
		{"an inner list as a parameter is no structured field", []string{headerPath, `"9f00";i="a1";z=(1 2)`}, Malformed},
		{"an unknown parameter of any type is ignored", []string{headerPath, `"9f00";z=?1;y=:YQ==:;i="a1";w`}, ""},
		{"a path that ends with another gateway than the peer (F-60)", []string{headerPath, `"9f00", "aa"`}, Forged},
		{"a path that begins with the peer and ends with another", []string{headerPath, `"aa"`}, Forged},
		{"own group first on the path", []string{headerPath, `"3c00", "9f00"`}, LoopPath},
		{"own group among others", []string{headerPath, `"aa", "3c00", "9f00"`}, LoopPath},
		{"a group id in other case is another gateway", []string{headerPath, `"3C00", "9f00"`}, ""},

		{"a budget without h", []string{headerBudget, "a=3, t=1000"}, Malformed},
		{"a budget without a", []string{headerBudget, "h=3, t=1000"}, Malformed},
		{"a budget without t", []string{headerBudget, "h=3, a=3"}, Malformed},
		{"a budget without s has no limit", []string{headerBudget, "h=3, a=3, t=1000"}, ""},
		{"no hops left passes here: the terminal gateway needs none", []string{headerBudget, "h=0, a=3, t=1000"}, ""},
		{"no attempt left", []string{headerBudget, "h=3, a=0, t=1000"}, Malformed},
		{"nothing left of t", []string{headerBudget, "h=3, a=3, t=0"}, Deadline},
		{"negative hops", []string{headerBudget, "h=-1, a=3, t=1000"}, Malformed},
		{"negative t", []string{headerBudget, "h=3, a=3, t=-1000"}, Malformed},
		{"negative s", []string{headerBudget, "h=3, a=3, t=1000, s=-1"}, Malformed},
		{"t=2^63 (F-60)", []string{headerBudget, "h=3, a=3, t=9223372036854775808"}, Malformed},
		{"the largest integer of RFC 9651 is clamped", []string{headerBudget, "h=999999999999999, a=999999999999999, t=999999999999999, s=999999999999999"}, ""},
		{"h as a string", []string{headerBudget, `h="3", a=3, t=1000`}, Malformed},
		{"h as a decimal", []string{headerBudget, `h=3.0, a=3, t=1000`}, Malformed},
		{"h without value", []string{headerBudget, `h, a=3, t=1000`}, Malformed},
		{"h twice: RFC 9651 lets the last win, we believe none", []string{headerBudget, `h=1, a=3, t=1000, h=3`}, Malformed},
		{"an unknown member is ignored", []string{headerBudget, `h=3, zz=("a" 1.5), a=3, t=1000, *y;p=1, q=@17, r=%"f%c3%bc"`}, ""},
		{"an unknown member that does not parse", []string{headerBudget, `h=3, a=3, t=1000, zz=`}, Malformed},
		{"members without comma", []string{headerBudget, "h=3 a=3 t=1000"}, Malformed},
		{"an upper-case member is no key", []string{headerBudget, "H=3, a=3, t=1000"}, Malformed},

		{"a request id that is no string", []string{headerRequestID, "01J"}, Malformed},
		{"an empty request id", []string{headerRequestID, `""`}, Malformed},
		{"a request id with a slash", []string{headerRequestID, `"../x"`}, Malformed},
		{"a request id of 65 characters", []string{headerRequestID, `"` + long[:65] + `"`}, Malformed},
		{"two request ids in one", []string{headerRequestID, `"a", "b"`}, Malformed},

		{"a subject with a cluster, from a spoke (TH-S5)", []string{headerSubject, `ns="a", m=token, cl="west"`}, Malformed},
		{"a subject without proof", []string{headerSubject, `ns="a"`}, Malformed},
		{"a subject with an unknown proof", []string{headerSubject, `ns="a", m=oath`}, Malformed},
		{"a subject whose proof is a string", []string{headerSubject, `ns="a", m="token"`}, Malformed},
		{"a subject whose namespace is a token", []string{headerSubject, `ns=a, m=token`}, Malformed},
		{"a subject with two namespaces", []string{headerSubject, `ns="a", ns="b", m=token`}, Malformed},
		{"a subject with two proofs", []string{headerSubject, `ns="a", m=ip, m=spiffe`}, Malformed},
		{"a subject with an empty name", []string{headerSubject, `ns="", m=token`}, Malformed},
		{"a subject with a name too long", []string{headerSubject, `ns="` + long[:254] + `", m=token`}, Malformed},
		{"a subject with an unknown member", []string{headerSubject, `ns="a", m=token, zz=1`}, ""},

		{"Connection nominates a tag", []string{headerConnection, "keep-alive, Penstock-Path"}, Nominated},
		{"Connection nominates CDN-Loop", []string{headerConnection, "cdn-loop"}, Nominated},
		{"an underscore twin", []string{"Penstock_budget", "h=8"}, Nominated},
		{"CDN-Loop that does not parse", []string{headerCDNLoop, "a;b"}, Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := peerHeader(tt.changes...)
			tags, err := FromPeer(h, "9f00", "east", hub, Limits{})
			wantKind(t, err, tt.want)
			if tags.RequestID == "" {
				t.Error("no request id for the answer")
			}
			for name := range h {
				if k := classify(name); k == tag || k == twin {
					t.Errorf("%s is left in the header", name)
				}
			}
		})
	}
}

func TestFromPeerRefusesRepeatedLines(t *testing.T) {
	for _, name := range []string{headerPath, headerBudget, headerRequestID, headerSubject} {
		h := peerHeader()
		h[name] = append(h[name], h[name][0])
		_, err := FromPeer(h, "9f00", "east", hub, Limits{})
		wantKind(t, err, Malformed)
	}
}

// TestClamp: F-60, what a compromised spoke sends has no effect beyond the clamp.
func TestClamp(t *testing.T) {
	year := int64(365 * 24 * time.Hour / time.Millisecond)
	tests := []struct {
		rule   string
		budget string
		lim    Limits
		want   Budget
	}{
		{"h=255, a=255 become H-1 and A", "h=255, a=255, t=1000", Limits{}, Budget{3, 3, time.Second, 0}},
		{"less than the maxima stays", "h=1, a=1, t=1000, s=5000", Limits{}, Budget{1, 1, time.Second, 5 * time.Second}},
		{"t becomes Tmax", "h=3, a=3, t=999999999999999", Limits{}, Budget{3, 3, 30 * time.Second, 0}},
		{"t becomes a raised Tmax", "h=3, a=3, t=999999999999999", Limits{Headers: time.Minute}, Budget{3, 3, time.Minute, 0}},
		{"limits beyond the hard caps become those", "h=255, a=255, t=999999999999999", Limits{100, 100, time.Hour}, Budget{7, 5, 600 * time.Second, 0}},
		{"a limit of one hop leaves none", "h=255, a=3, t=1000", Limits{Hops: 1}, Budget{0, 3, time.Second, 0}},
		{"s is the spoke's to choose", fmt.Sprintf("h=3, a=3, t=1000, s=%d", year), Limits{}, Budget{3, 3, time.Second, 365 * 24 * time.Hour}},
		{"s beyond 292 years does not wrap", "h=3, a=3, t=1000, s=999999999999999", Limits{}, Budget{3, 3, time.Second, time.Duration(maxMillis) * time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			tags, err := FromPeer(peerHeader(headerBudget, tt.budget), "9f00", "east", hub, tt.lim)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tags.Budget); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFromPeerDropsAndCountsUnknownTags(t *testing.T) {
	h := peerHeader("Penstock-Shape", "round", "penstock-lower", "x", headerAttempts, "n=2, c=1")
	tags, err := FromPeer(h, "9f00", "east", hub, Limits{})
	if err != nil || tags.Unknown != 3 {
		t.Errorf("unknown = %d, error %v; want 3, none", tags.Unknown, err)
	}
	if len(h) != 0 {
		t.Errorf("left in the header: %v", h)
	}
}

func TestFromHub(t *testing.T) {
	eastOnly := func(cluster string) bool { return cluster == "east" }
	tests := []struct {
		rule    string
		subject string
		want    Kind
	}{
		{"a hub may name a cluster it vouches for", `ns="a", m=token, cl="east"`, ""},
		{"a hub may not name another", `ns="a", m=token, cl="west"`, NotVouched},
		{"a hub must name one", `ns="a", m=token`, Malformed},
		{"a hub may forward nobody's request", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			tags, err := FromHub(peerHeader(headerSubject, tt.subject), "9f00", eastOnly, hub, Limits{})
			wantKind(t, err, tt.want)
			if tt.want == "" && tt.subject != "" && tags.Subject.Cluster != "east" {
				t.Errorf("cluster = %q, want east", tags.Subject.Cluster)
			}
		})
	}
}

func TestFromWorkload(t *testing.T) {
	h := http.Header{
		headerPath: {`"x"`}, "penstock-budget": {"h=8"}, "PENSTOCK-ANYTHING": {"1", "2"},
		headerCDNLoop: {"cloudflare; loops=1"}, "Accept": {"*/*"},
	}
	tags, stripped, err := FromWorkload(h, "openai", spoke, Limits{})
	if err != nil || stripped != 3 {
		t.Fatalf("stripped = %d, error %v; want 3, none", stripped, err)
	}
	wantHeader := http.Header{headerCDNLoop: {"cloudflare; loops=1"}, "Accept": {"*/*"}}
	if diff := cmp.Diff(wantHeader, h); diff != "" {
		t.Error(diff)
	}
	want := Tags{
		Budget:    Budget{Hops: 4, Attempts: 3, Headers: 30 * time.Second},
		RequestID: tags.RequestID,
		CDNLoop:   []string{"cloudflare; loops=1"},
	}
	if diff := cmp.Diff(want, tags); diff != "" {
		t.Error(diff)
	}
}

func TestFromWorkloadReservedHost(t *testing.T) {
	tests := []struct {
		host string
		want Kind
	}{
		{"hub.penstock.internal", ReservedHost},
		{"HUB.Penstock.Internal", ReservedHost},
		{"hub.penstock.internal:8443", ReservedHost},
		{"hub.penstock.internal.", ReservedHost},
		{"hub.penstock.internal.:80", ReservedHost},
		{"penstock.internal", ReservedHost},
		{"a.b.penstock.internal", ReservedHost},
		{"penstock.internal.example.com", ""},
		{"mypenstock.internal", ""},
		{"[2001:db8::1]", ""},
		{"[2001:db8::1]:80", ""},
		{"openai", ""},
		{"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			_, _, err := FromWorkload(http.Header{}, tt.host, spoke, Limits{})
			wantKind(t, err, tt.want)
		})
	}
}

// TestForgedTags: F-59, 100 variants and more. A workload gains nothing: each variant is stripped or refused, and the
// tags are those of a request without it.
func TestForgedTags(t *testing.T) {
	names := []string{"Path", "Budget", "Request-Id", "Subject", "Not-Processed", "Attempts", "Shape", ""}
	cases := []func(string) string{
		http.CanonicalHeaderKey, strings.ToLower, strings.ToUpper,
		func(s string) string { return strings.ToLower(s[:1]) + s[1:] },
	}
	variants := 0
	for _, name := range names {
		for _, inCase := range cases {
			plain := inCase("Penstock-" + name)
			forgeries := map[string]struct {
				header http.Header
				want   Kind
			}{
				"as is":                  {http.Header{plain: {`"3c00"`}}, ""},
				"with several lines":     {http.Header{plain: {"h=8, a=255", "h=255"}}, ""},
				"nominated":              {http.Header{headerConnection: {"close, " + plain}}, Nominated},
				"nominated in two lines": {http.Header{"connection": {"close", "\t" + plain + " ,x"}}, Nominated},
				"all underscores":        {http.Header{strings.ReplaceAll(plain, "-", "_"): {"h=8"}}, Nominated},
				"first underscore":       {http.Header{strings.Replace(plain, "-", "_", 1): {"h=8"}}, Nominated},
			}
			for how, f := range forgeries {
				variants++
				t.Run(plain+" "+how, func(t *testing.T) {
					tags, stripped, err := FromWorkload(f.header, "openai", spoke, Limits{})
					wantKind(t, err, f.want)
					if strings.EqualFold(how, "as is") && stripped != 1 {
						t.Errorf("stripped = %d, want 1", stripped)
					}
					want := Tags{RequestID: tags.RequestID, Budget: Budget{Hops: 4, Attempts: 3, Headers: 30 * time.Second}}
					if diff := cmp.Diff(want, tags); diff != "" {
						t.Errorf("the forgery shows in the tags:\n%s", diff)
					}
					for left := range f.header {
						if left != headerConnection && left != "connection" {
							t.Errorf("%s is left in the header", left)
						}
					}
				})
			}
			trailer := http.Header{plain: {"x"}, "Cdn_loop": {"x"}, headerCDNLoop: {"x"}, "Grpc-Status": {"0"}}
			if n := StripTrailer(trailer); n != 3 || len(trailer) != 1 {
				t.Errorf("StripTrailer with %s removed %d, left %v", plain, n, trailer)
			}
			variants++
		}
	}
	if variants < 100 {
		t.Fatalf("%d variants, want at least 100", variants)
	}
}

func TestReserved(t *testing.T) {
	for _, name := range []string{"Penstock-Path", "penstock-x", "PENSTOCK_PATH", "Penstock_Request-Id", "penstock-", "CDN-Loop", "cdn_loop"} {
		if !Reserved(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
	for _, name := range []string{"Penstock", "X-Penstock-Path", "Cdn-Loops", "Via", "", "Cdn", "Penstocks-Path", "Forwarded"} {
		if Reserved(name) {
			t.Errorf("%s is reserved", name)
		}
	}
}

func TestCheckControl(t *testing.T) {
	for _, name := range []string{headerPath, headerSubject, "penstock-x", "Penstock_path"} {
		wantKind(t, CheckControl(http.Header{name: {"x"}}), Malformed)
	}
	if err := CheckControl(http.Header{headerCDNLoop: {"x"}, "Accept": {"x"}}); err != nil {
		t.Error(err)
	}
}

// TestCDNLoop: A.3 step 3.
func TestCDNLoop(t *testing.T) {
	now := time.Now()
	good := func(self Self, h, a int) string { return outsideTag(self, h, a, now) }
	full := Budget{Hops: 4, Attempts: 3, Headers: 30 * time.Second}
	lowered := func(h, a int) Budget { return Budget{Hops: h, Attempts: a, Headers: 30 * time.Second} }
	expired := outsideTag(hub, 2, 2, now.Add(-tagLife-time.Minute))
	yesterday := Self{Pseudonym: hub.Pseudonym, Keys: NewKeys(nil, []byte("yesterday"), nil)}
	tomorrow := Self{Pseudonym: hub.Pseudonym, Keys: NewKeys(nil, []byte("the day before"), nil)}
	var chain []string
	for i := range maxCDNLoop + 1 {
		chain = append(chain, fmt.Sprintf("cdn%d", i))
	}
	tests := []struct {
		rule   string
		at     Self
		lines  []string
		want   Kind
		forged bool
		budget Budget
		own    int
	}{
		{"nobody's tag", hub, nil, "", false, full, 0},
		{"foreign members lower nothing", hub, []string{"cloudflare; loops=1; subreqs=1", "Fastly, [2001:db8::1]:80;q=\"a, b\\\"\""}, "", false, full, 0},
		{"empty members are ignored", hub, []string{", ,a,,", ""}, "", false, full, 0},
		{"another domain's MAC lowers nothing", hub, []string{good(foreign, 0, 0)}, "", false, full, 0},
		{"another gateway of the domain lowers h and a", hub, []string{good(other, 2, 1)}, "", false, lowered(2, 1), 0},
		{"a tag never raises h and a", hub, []string{good(other, 250, 250)}, "", false, full, 0},
		{"of several tags the least counts", hub, []string{good(other, 3, 1) + ", x", good(other, 1, 3)}, "", false, lowered(1, 1), 0},
		{"no repeats left still leaves a first try", hub, []string{good(other, 2, 0)}, "", false, lowered(2, 1), 0},
		{"no hops left leaves none", hub, []string{good(other, 0, 1)}, "", false, lowered(0, 1), 0},
		{"another gateway without MAC lowers nothing", hub, []string{other.Pseudonym + ";v=1"}, "", false, full, 0},
		{"another gateway's MAC under our pseudonym", hub, []string{strings.Replace(good(other, 2, 2), other.Pseudonym, hub.Pseudonym, 1)}, LoopExternal, true, full, 0},
		{"our own tag is left to Admit", hub, []string{good(hub, 2, 1)}, "", false, lowered(2, 1), 1},
		{"our own tag under yesterday's key", hub, []string{good(yesterday, 2, 1)}, "", false, lowered(2, 1), 1},
		{"our own tag under an older key", hub, []string{good(tomorrow, 2, 1)}, LoopExternal, true, full, 0},
		{"our own tag twice", hub, []string{good(hub, 2, 1), "x," + good(hub, 1, 1)}, "", false, lowered(1, 1), 2},
		{"our own pseudonym without MAC", hub, []string{hub.Pseudonym}, LoopExternal, true, full, 0},
		{"our own pseudonym with an expired MAC", hub, []string{expired}, LoopExternal, true, full, 0},
		{"our own pseudonym with a MAC cut short", hub, []string{strings.TrimRight(good(hub, 2, 1), "=")[:70]}, LoopExternal, true, full, 0},
		{"our own pseudonym of a later version", hub, []string{strings.Replace(good(hub, 2, 1), ";v=1", ";v=2", 1)}, LoopExternal, true, full, 0},
		{"our own tag after a good one and a foreign one", hub, []string{good(other, 2, 1) + ", cloudflare", hub.Pseudonym + ";x=AAAA;v=1"}, LoopExternal, true, lowered(2, 1), 0},
		{"a spoke finds itself without keys", spoke, []string{"x, " + spoke.Pseudonym + ";v=1"}, LoopExternal, false, full, 0},
		{"a spoke cannot check another's MAC", spoke, []string{good(other, 1, 1)}, "", false, full, 0},
		{"our own pseudonym in other case", hub, []string{strings.ToUpper(hub.Pseudonym)}, LoopExternal, true, full, 0},
		{"a pseudonym as a prefix is another's", hub, []string{hub.Pseudonym + "x"}, "", false, full, 0},
		{"a parameter without value", hub, []string{"a;b"}, Malformed, false, full, 0},
		{"a quoted string that is not closed", hub, []string{`a;b="c, ` + hub.Pseudonym}, Malformed, false, full, 0},
		{"two ids without comma", hub, []string{"a b"}, Malformed, false, full, 0},
		{"a control character in a quoted string", hub, []string{"a;b=\"\x01\""}, Malformed, false, full, 0},
		{"more members than are looked at", hub, []string{strings.Join(chain, ",")}, Malformed, false, full, 0},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := http.Header{}
			if tt.lines != nil {
				h[headerCDNLoop] = slices.Clone(tt.lines)
			}
			tags, _, err := FromWorkload(h, "openai", tt.at, Limits{})
			wantKind(t, err, tt.want)
			if r := (*Refusal)(nil); errors.As(err, &r) && r.CDNLoopForged != tt.forged {
				t.Errorf("CDNLoopForged = %v, want %v", r.CDNLoopForged, tt.forged)
			}
			if diff := cmp.Diff(tt.budget, tags.Budget); diff != "" {
				t.Error(diff)
			}
			if tags.OwnSeen != tt.own {
				t.Errorf("OwnSeen = %d, want %d", tags.OwnSeen, tt.own)
			}
			if diff := cmp.Diff(tt.lines, h[headerCDNLoop]); diff != "" {
				t.Errorf("CDN-Loop was changed:\n%s", diff)
			}
		})
	}
}

func TestCDNLoopFromPeerOnlyLowers(t *testing.T) {
	h := peerHeader(headerBudget, "h=2, a=2, t=1000", headerCDNLoop, outsideTag(other, 3, 1, time.Now()))
	tags, err := FromPeer(h, "9f00", "east", hub, Limits{})
	if err != nil || tags.Budget.Hops != 2 || tags.Budget.Attempts != 1 {
		t.Errorf("budget = %+v, error %v; want 2 hops, 1 attempt, none", tags.Budget, err)
	}
}

// TestMACBindsEveryBit: no bit of a tag can be changed.
func TestMACBindsEveryBit(t *testing.T) {
	m, err := parseCDNLoop([]string{outsideTag(hub, 2, 1, time.Now())})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := domainKeys.verify(m[0], time.Now()); !ok {
		t.Fatal("the tag is not good as it was written")
	}
	x := m[0].payload
	for i := range len(x) {
		for _, c := range []byte("AQgw-_") {
			if x[i] == c {
				continue
			}
			m[0].payload = x[:i] + string(c) + x[i+1:]
			if _, ok := domainKeys.verify(m[0], time.Now()); ok {
				t.Errorf("character %d may be %c", i, c)
			}
		}
	}
}

func TestAdmit(t *testing.T) {
	tests := []struct {
		rule       string
		seen, most int
		want       Kind
	}{
		{"nothing seen", 0, 0, ""},
		{"one seen, none allowed", 1, 0, LoopExternal},
		{"one seen, one allowed", 1, 1, ""},
		{"two seen, one allowed", 2, 1, LoopExternal},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) { wantKind(t, Tags{OwnSeen: tt.seen}.Admit(tt.most), tt.want) })
	}
}

func TestForward(t *testing.T) {
	start := Tags{
		Path:      []Entry{{"aa", "1"}},
		Budget:    Budget{Hops: 3, Attempts: 2, Headers: time.Second},
		RequestID: "id",
	}
	with := func(change func(*Tags)) Tags {
		tags := start
		change(&tags)
		return tags
	}
	tests := []struct {
		rule    string
		tags    Tags
		elapsed time.Duration
		want    Budget
		kind    Kind
	}{
		{"one hop, elapsed and 2 ms less", start, 100 * time.Millisecond, Budget{2, 2, 898 * time.Millisecond, 0}, ""},
		{"s loses the elapsed time", with(func(t *Tags) { t.Budget.Stream = time.Minute }), time.Millisecond, Budget{2, 2, 997 * time.Millisecond, time.Minute - time.Millisecond}, ""},
		{"a clock that went back gives nothing", start, -time.Hour, Budget{2, 2, 998 * time.Millisecond, 0}, ""},
		{"the last hop", with(func(t *Tags) { t.Budget.Hops = 1 }), 0, Budget{0, 2, 998 * time.Millisecond, 0}, ""},
		{"no hop left", with(func(t *Tags) { t.Budget.Hops = 0 }), 0, Budget{}, LoopHops},
		{"no hop left comes before no time left", with(func(t *Tags) { t.Budget.Hops = 0 }), time.Hour, Budget{}, LoopHops},
		{"a full path", with(func(t *Tags) { t.Path = make([]Entry, maxPath) }), 0, Budget{}, LoopHops},
		{"own group on the path", with(func(t *Tags) { t.Path = []Entry{{hub.Group, ""}, {"aa", ""}} }), 0, Budget{}, LoopPath},
		{"queued for all of t", start, time.Second, Budget{}, Deadline},
		{"the 2 ms are what was left", start, 998 * time.Millisecond, Budget{}, Deadline},
		{"less than a millisecond of t left", start, 997*time.Millisecond + time.Microsecond, Budget{}, Deadline},
		{"a millisecond of t left", start, 997 * time.Millisecond, Budget{2, 2, time.Millisecond, 0}, ""},
		{"s is over: it must not become 0, which is no limit", with(func(t *Tags) { t.Budget.Stream = time.Millisecond }), time.Millisecond, Budget{}, Deadline},
		{"s below a millisecond must not become 0 either", with(func(t *Tags) { t.Budget.Stream = 2 * time.Millisecond }), 1500 * time.Microsecond, Budget{}, Deadline},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			next, err := tt.tags.Forward(hub, tt.elapsed)
			wantKind(t, err, tt.kind)
			if tt.kind != "" {
				return
			}
			if diff := cmp.Diff(tt.want, next.Budget); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]Entry{{"aa", "1"}, {hub.Group, hub.Instance}}, next.Path); diff != "" {
				t.Error(diff)
			}
			if len(tt.tags.Path) != 1 {
				t.Error("the path of the receiver was changed")
			}
		})
	}
}

// TestForwardSharesNothing: two tries of one request must not write into each other's path.
func TestForwardSharesNothing(t *testing.T) {
	tags := Tags{Path: make([]Entry, 1, 8), Budget: Budget{Hops: 3, Attempts: 1, Headers: time.Second}}
	a, _ := tags.Forward(hub, 0)
	b, _ := tags.Forward(other, 0)
	if a.Path[1].Group != hub.Group || b.Path[1].Group != other.Group {
		t.Errorf("paths %v and %v", a.Path, b.Path)
	}
}

func TestWriteThenFromPeer(t *testing.T) {
	tags, _, err := FromWorkload(http.Header{headerCDNLoop: {"a, b", "c"}}, "openai", spoke, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	tags.Subject = Subject{Namespace: "team-a", ServiceAccount: `qu"o\te`, Proof: ProofSPIFFE}
	sent, err := tags.Forward(spoke, 0)
	if err != nil {
		t.Fatal(err)
	}
	// What a filter left behind is replaced, whatever its case.
	h := http.Header{
		"Penstock-Budget": {"h=255"}, "penstock-path": {"x"}, "Penstock_subject": {"x"}, "CDN-LOOP": {"gone"},
		headerVia: {"1.0 fred"},
	}
	sent.Write(h, spoke)
	sent.Write(h, spoke)
	want := http.Header{
		headerPath:      {`"9f00";i="a1"`},
		headerBudget:    {"h=3, a=3, t=29998, s=0"},
		headerRequestID: {`"` + tags.RequestID + `"`},
		headerSubject:   {`ns="team-a", sa="qu\"o\\te", m=spiffe`},
		headerCDNLoop:   {"a, b", "c"},
		headerVia:       {"1.0 fred", "1.1 pspoke"},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Fatal(diff)
	}

	got, err := FromPeer(h, "9f00", "east", hub, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	sent.Subject.Cluster = "east"
	sent.Via = []string{"1.1 pspoke"}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1.0 fred"}, h[headerVia]); diff != "" {
		t.Errorf("Via as the outside sees it:\n%s", diff)
	}

	next, err := got.Forward(hub, 0)
	if err != nil {
		t.Fatal(err)
	}
	next.Write(h, hub)
	next.Write(h, hub)
	if diff := cmp.Diff([]string{"1.0 fred", "1.1 pspoke", "1.1 " + hub.Pseudonym}, h[headerVia]); diff != "" {
		t.Errorf("Via at the parent:\n%s", diff)
	}
	if !strings.Contains(h.Get(headerSubject), `cl="east"`) {
		t.Errorf("a hub names no cluster of origin: %s", h.Get(headerSubject))
	}
}

// TestSubjectThatCannotBeWritten is nobody at the next gateway, not somebody else.
func TestSubjectThatCannotBeWritten(t *testing.T) {
	for _, s := range []Subject{
		{Namespace: "a"},
		{Namespace: "münchen", Proof: ProofToken},
		{Namespace: "a\nb", Proof: ProofToken},
		{Namespace: strings.Repeat("x", maxName+1), Proof: ProofToken},
		{Namespace: "a", Proof: "oath"},
	} {
		h := http.Header{}
		Tags{Subject: s}.Write(h, spoke)
		if got, ok := h[headerSubject]; ok {
			t.Errorf("%+v was written as %s", s, got)
		}
	}
}

func TestWriteOutside(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tags := Tags{RequestID: "01J", Budget: Budget{Hops: 3, Attempts: 2}, CDNLoop: []string{"cloudflare; loops=1", " ", "b,"}}

	h := http.Header{"Penstock-Path": {"left by a filter"}, "CDN-Loop": {"so is this"}, "Accept": {"*/*"}}
	tags.WriteOutside(h, hub, now)
	tags.WriteOutside(h, hub, now) // the next attempt
	value := h.Get(headerCDNLoop)
	if len(h) != 2 || len(h[headerCDNLoop]) != 1 || !strings.HasPrefix(value, "cloudflare; loops=1, b,, "+hub.Pseudonym+";v=1;x=") {
		t.Fatalf("header = %v", h)
	}
	members, err := parseCDNLoop(h[headerCDNLoop])
	if err != nil || len(members) != 3 {
		t.Fatalf("members = %v, error %v", members, err)
	}
	got, ok := domainKeys.verify(members[2], now)
	want := outside{"01J", 2, 2, now.Add(tagLife)}
	if !ok || got != want {
		t.Errorf("x carries %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := domainKeys.verify(members[2], now.Add(tagLife+time.Second)); ok {
		t.Error("x outlives its expiry")
	}

	h = http.Header{}
	tags.CDNLoop = nil
	tags.WriteOutside(h, spoke, now)
	if diff := cmp.Diff(http.Header{headerCDNLoop: {"pspoke;v=1"}}, h); diff != "" {
		t.Errorf("a spoke has no MAC key:\n%s", diff)
	}
}

func TestWriteVia(t *testing.T) {
	h := http.Header{headerVia: {"1.0 fred", "1.1 phub"}}
	self := Self{Pseudonym: "phub"}
	WriteVia(h, self)
	WriteVia(h, spoke)
	WriteVia(h, spoke)
	if diff := cmp.Diff([]string{"1.0 fred", "1.1 phub", "1.1 pspoke"}, h[headerVia]); diff != "" {
		t.Error(diff)
	}
}

func TestReentryEnds(t *testing.T) {
	tags, _, err := FromWorkload(http.Header{}, "openai", hub, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for turn := 1; ; turn++ {
		h := http.Header{}
		tags.WriteOutside(h, hub, time.Now())
		before := tags.Budget.Hops
		if tags, _, err = FromWorkload(h, "openai", hub, Limits{}); err != nil {
			t.Fatal(err)
		}
		if before > 0 && tags.Budget.Hops >= before {
			t.Fatalf("turn %d: %d hops, before %d", turn, tags.Budget.Hops, before)
		}
		if tags.OwnSeen != turn {
			t.Fatalf("turn %d: OwnSeen = %d", turn, tags.OwnSeen)
		}
		if tags.Admit(1) != nil {
			if turn != 2 {
				t.Errorf("refused on re-entry %d, want 2", turn)
			}
			return
		}
	}
}

func TestCleanOutside(t *testing.T) {
	own := hub.Pseudonym
	tests := []struct {
		rule string
		in   []string
		want []string
	}{
		{"none", nil, nil},
		{"a foreign member stays as it was", []string{`ExampleCDN; error=http_response_timeout; details="a, b"`}, []string{`ExampleCDN; error=http_response_timeout; details="a, b"`}},
		{"an own token goes", []string{own + ";error=proxy_loop_detected"}, nil},
		{"an own string goes", []string{`"` + own + `";error=proxy_loop_detected`}, nil},
		{"in any case", []string{strings.ToUpper(own)}, nil},
		{"the group id goes", []string{`"` + hub.Group + `"`}, nil},
		{"among others", []string{`a;x=1, ` + own + `;y=2,  b`}, []string{`a;x=1, b`}},
		{"on a line of its own", []string{"a", own, "b"}, []string{"a", "b"}},
		{"what is neither token nor string goes", []string{"(a b), ?1, c"}, []string{"c"}},
		{"a line that does not parse goes", []string{own + ",,", "a"}, []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := http.Header{"Penstock-Attempts": {"n=0"}, "penstock-not-processed": {"overload"}, "Server": {"x"}}
			if tt.in != nil {
				h[headerProxyStatus] = tt.in
			}
			CleanOutside(h, hub)
			want := http.Header{"Server": {"x"}}
			if tt.want != nil {
				want[headerProxyStatus] = tt.want
			}
			if diff := cmp.Diff(want, h); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTakeResponse(t *testing.T) {
	tests := []struct {
		rule     string
		attempts []string
		verdict  []string
		want     Counts
		notProc  string
	}{
		{"nothing", nil, nil, Counts{}, ""},
		{"counts", []string{"n=2, c=1"}, nil, Counts{2, 1}, ""},
		{"counts with a member of a later version", []string{"n=2, q=?1, c=1;x"}, nil, Counts{2, 1}, ""},
		{"counts that nobody can have used", []string{"n=999999999999999, c=-1"}, nil, Counts{maxCount, 0}, ""},
		{"counts that do not parse", []string{"n=2,"}, nil, Counts{}, ""},
		{"counts on two lines", []string{"n=2", "c=1"}, nil, Counts{}, ""},
		{"overload", nil, []string{"overload"}, Counts{}, Overload},
		{"rejected", nil, []string{"rejected"}, Counts{}, Rejected},
		{"an unknown verdict is no proof", nil, []string{"maybe"}, Counts{}, ""},
		{"a string is no proof", nil, []string{`"overload"`}, Counts{}, ""},
		{"two verdicts are no proof", nil, []string{"overload", "rejected"}, Counts{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := http.Header{"Server": {"x"}, "Penstock-Shape": {"round"}}
			if tt.attempts != nil {
				h[headerAttempts] = tt.attempts
			}
			if tt.verdict != nil {
				h[headerNotProcessed] = tt.verdict
			}
			c, notProcessed := TakeResponse(h)
			if c != tt.want || notProcessed != tt.notProc {
				t.Errorf("= %v, %q; want %v, %q", c, notProcessed, tt.want, tt.notProc)
			}
			if diff := cmp.Diff(http.Header{"Server": {"x"}}, h); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResponseRoundTrip(t *testing.T) {
	h := http.Header{}
	Counts{1, 2}.Add(Counts{1, 1}).Write(h)
	SetNotProcessed(h, Overload)
	if c, v := TakeResponse(h); c != (Counts{2, 3}) || v != Overload {
		t.Errorf("= %v, %q", c, v)
	}
}

func TestMeets(t *testing.T) {
	order := []Proof{ProofNone, ProofIP, ProofToken, ProofSPIFFE}
	for i, p := range order {
		for j, want := range order {
			if got := p.Meets(want); got != (i >= j) {
				t.Errorf("%q meets %q = %v", p, want, got)
			}
		}
		if p.Meets("oath") {
			t.Errorf("%q meets a demand that nobody knows", p)
		}
		if Proof("oath").Meets(p) {
			t.Errorf("an unknown proof meets %q", p)
		}
	}
}

func TestLoop(t *testing.T) {
	for k, want := range map[Kind]bool{
		LoopPath: true, LoopHops: true, LoopExternal: true, LoopSelfDial: true,
		Malformed: false, Nominated: false, Forged: false, NotVouched: false, Deadline: false, ReservedHost: false,
	} {
		if got := (&Refusal{Kind: k}).Loop(); got != want {
			t.Errorf("%s is a loop: %v", k, got)
		}
	}
}

func TestKeysNeverPrint(t *testing.T) {
	secret := []byte("hunter2hunter2")
	k := NewKeys(secret, secret, secret)
	self := Self{Keys: k}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keys", k, "copy", *k, "self", self)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "keys", k, "copy", *k, "self", self)
	out := []string{log.String()}
	for _, v := range []any{k, *k, self, &self, []any{k, *k}, fmt.Errorf("with %v", k)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%U", "%t"} {
			out = append(out, fmt.Sprintf(verb, v))
		}
		js, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(js))
	}
	for _, s := range out {
		for _, leak := range []string{"hunter2", "68756e74", "68756E74", "104 117 110", "0x68, 0x75", "aHVudGVy", "150 165"} {
			if strings.Contains(s, leak) {
				t.Errorf("prints its bytes: %s", s)
			}
		}
	}
}

func TestPseudonym(t *testing.T) {
	a, b := hub.Pseudonym, other.Pseudonym
	if len(a) != 17 || a == b || a != domainKeys.Pseudonym(hub.Group) {
		t.Errorf("pseudonyms %q and %q", a, b)
	}
	if NewKeys([]byte("another"), nil, nil).Pseudonym(hub.Group) == a || GroupPseudonym(hub.Group) == a {
		t.Error("a pseudonym does not depend on the domain key")
	}
	if v, err := parseItem(a); err != nil || v.kind != sfToken {
		t.Errorf("%q is no token for Proxy-Status: %v", a, err)
	}
	// Fixed: other versions of the hub made it too.
	if got, want := NewKeys([]byte("k"), nil, nil).Pseudonym("g"), "prkxipfncd4ja7gxt"; got != want {
		t.Errorf("pseudonym = %s, want %s", got, want)
	}
}

func TestRequestID(t *testing.T) {
	before := NewRequestID()
	seen := map[string]bool{}
	for range 1000 {
		id := NewRequestID()
		if len(id) != requestIDLen || !validRequestID(id) || strings.Trim(id, crockford) != "" || id[0] > '7' {
			t.Fatalf("id %q", id)
		}
		if id[:10] < before[:10] {
			t.Fatalf("%s sorts before %s", id, before)
		}
		if seen[id] {
			t.Fatalf("%s twice", id)
		}
		seen[id], before = true, id
	}
}

func TestGRPCTimeout(t *testing.T) {
	budget := Budget{Hops: 1, Attempts: 1, Headers: 30 * time.Second}
	with := func(headers, stream time.Duration) Budget { return Budget{1, 1, headers, stream} }
	tests := []struct {
		rule   string
		header []string
		budget Budget
		want   Budget
		out    string
		kind   Kind
	}{
		{"no header changes nothing", nil, budget, budget, "", ""},
		{"a shorter one lowers t and sets s", []string{"5S"}, budget, with(5*time.Second, 5*time.Second), "5000000u", ""},
		{"a longer one leaves t, for the answer may stream on", []string{"1H"}, budget, with(30*time.Second, time.Hour), "3600000m", ""},
		{"s lowers the header", []string{"1H"}, with(30*time.Second, time.Minute), with(30*time.Second, time.Minute), "60000000u", ""},
		{"the header lowers s", []string{"100m"}, with(30*time.Second, time.Minute), with(100*time.Millisecond, 100*time.Millisecond), "100000u", ""},
		{"minutes", []string{"2M"}, budget, with(30*time.Second, 2*time.Minute), "120000m", ""},
		{"the longest there is", []string{"99999999H"}, budget, with(30*time.Second, 1<<63-1), "2562047H", ""},
		{"nothing left", []string{"0m"}, budget, budget, "", Deadline},
		{"less than a millisecond left", []string{"999u"}, budget, budget, "", Deadline},
		{"nine digits", []string{"123456789m"}, budget, budget, "", Malformed},
		{"no digits", []string{"m"}, budget, budget, "", Malformed},
		{"no unit", []string{"10"}, budget, budget, "", Malformed},
		{"a unit of nobody", []string{"10s"}, budget, budget, "", Malformed},
		{"a sign", []string{"-1S"}, budget, budget, "", Malformed},
		{"nothing", []string{""}, budget, budget, "", Malformed},
		{"two of them", []string{"1S", "2S"}, budget, budget, "", Malformed},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := http.Header{}
			if tt.header != nil {
				h[headerGRPCTimeout] = tt.header
			}
			got, err := GRPCTimeout(h, tt.budget)
			wantKind(t, err, tt.kind)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if tt.kind == "" && h.Get(headerGRPCTimeout) != tt.out {
				t.Errorf("header = %q, want %q", h.Get(headerGRPCTimeout), tt.out)
			}
		})
	}
}
