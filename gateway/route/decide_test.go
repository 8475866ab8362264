package route

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// world builds a snapshot: every rule goes to a Backend of the rule's own name.
type world struct{ Snapshot }

func (w *world) listener(name, hostname string, rules ...Rule) {
	w.Listeners = append(w.Listeners, Listener{Gateway: "infra/egress", Name: name, Protocol: ProtocolHTTP, Port: 80, Hostname: hostname, Rules: rules})
	w.backends(rules)
}

func (w *world) tunnel(rules ...Rule) {
	w.Listeners = append(w.Listeners, Listener{Gateway: "infra/hub", Name: "tunnel", Protocol: ProtocolTunnel, Port: 8443, Rules: rules})
	w.backends(rules)
}

func (w *world) backends(rules []Rule) {
	for _, r := range rules {
		for _, t := range r.Targets {
			if t.Backend != "" && !w.has(t.Backend) {
				w.Backends = append(w.Backends, Backend{Key: t.Backend, Via: ViaEndpoint})
			}
		}
	}
}

func (w *world) has(key string) bool {
	for _, b := range w.Backends {
		if b.Key == key {
			return true
		}
	}
	return false
}

func (w *world) compile(t testing.TB) *Snapshot {
	t.Helper()
	s, err := w.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// to makes a rule of route ns/name that leads to the Backend of the same name.
func to(name string, matches ...Match) Rule {
	return Rule{
		Route: Ref{Kind: "HTTPRoute", Namespace: "ns", Name: name}, Name: "0",
		Matches: matches, Targets: []Target{{Weight: 1, Backend: "ns/" + name}},
	}
}

func (r Rule) on(hosts ...string) Rule           { r.Hostnames = hosts; return r }
func (r Rule) callers(namespaces ...string) Rule { r.Namespaces = namespaces; return r }
func (r Rule) born(year int) Rule                { r.Created = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); return r }
func (r Rule) filtered(filters ...Filter) Rule   { r.Filters = filters; return r }
func exact(path string) Match                    { return Match{PathType: PathExact, Path: path} }
func prefix(path string) Match                   { return Match{PathType: PathPrefix, Path: path} }
func regex(expr string) Match                    { return Match{PathType: PathRegex, Path: expr} }
func (m Match) method(name string) Match         { m.Method = name; return m }
func (m Match) header(n, v string) Match {
	m.Headers = append(m.Headers, ValueMatch{Name: n, Value: v})
	return m
}

func (m Match) param(n, v string) Match {
	m.Query = append(m.Query, ValueMatch{Name: n, Value: v})
	return m
}

// ask makes a query of "GET host/path?query".
func ask(t testing.TB, request string, header ...string) Query {
	t.Helper()
	method, rest, _ := strings.Cut(request, " ")
	target, query, _ := strings.Cut(rest, "?")
	host, path, _ := strings.Cut(target, "/")
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Protocol: ProtocolHTTP, Port: 80, Host: host, Path: "/" + path, Method: method, Header: http.Header{}, Values: values}
	for i := 0; i < len(header); i += 2 {
		q.Header.Add(header[i], header[i+1])
	}
	return q
}

// outcome is the Backend's name or the reason.
func outcome(d Decision) string {
	if d.Reason != None {
		return string(d.Reason)
	}
	return strings.TrimPrefix(d.Backend.Key, "ns/")
}

func TestWhichRuleWins(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []Rule
		ask   string
		with  []string // headers
		want  string
	}{
		{"an exact path beats a prefix that also fits", []Rule{to("p", prefix("/v1")), to("e", exact("/v1"))}, "GET h/v1", nil, "e"},
		{"a longer prefix beats a shorter one", []Rule{to("short", prefix("/v1")), to("long", prefix("/v1/chat"))}, "GET h/v1/chat/x", nil, "long"},
		{"a prefix compares whole segments", []Rule{to("p", prefix("/v1"))}, "GET h/v10", nil, "no-route"},
		{"a slash at the end of a prefix makes no difference", []Rule{to("p", prefix("/v1/"))}, "GET h/v1", nil, "p"},
		{"a prefix matches the path with a slash at the end", []Rule{to("p", prefix("/v1"))}, "GET h/v1/", nil, "p"},
		{"an exact path is exact about the slash at the end", []Rule{to("e", exact("/v1"))}, "GET h/v1/", nil, "no-route"},
		{"an expression stands before the prefix that matches everything", []Rule{to("all", prefix("/")), to("r", regex("/v[0-9]+/.*"))}, "GET h/v1/x", nil, "r"},
		{"an expression stands behind an exact path", []Rule{to("r", regex("/v1.*")), to("e", exact("/v1"))}, "GET h/v1", nil, "e"},
		{"the longer expression stands first", []Rule{to("r", regex("/v1.*")), to("longer", regex("/v1/chat.*"))}, "GET h/v1/chat", nil, "longer"},
		{"an expression must match the whole path", []Rule{to("r", regex("/v1"))}, "GET h/v1/x", nil, "no-route"},
		{"an expression with an alternative must match the whole path", []Rule{to("r", regex("/a|/b"))}, "GET h/b/x", nil, "no-route"},
		{"a shorter prefix serves what the longer one refuses by method", []Rule{to("all", prefix("/")), to("post", prefix("/v1").method("POST"))}, "GET h/v1", nil, "all"},
		{"a method beats headers", []Rule{to("hdr", prefix("/").header("A", "1")), to("m", prefix("/").method("GET"))}, "GET h/", []string{"A", "1"}, "m"},
		{"more headers beat fewer", []Rule{to("one", prefix("/").header("A", "1")), to("two", prefix("/").header("A", "1").header("B", "2"))}, "GET h/", []string{"A", "1", "B", "2"}, "two"},
		{"headers beat query parameters", []Rule{to("q", prefix("/").param("a", "1").param("b", "2")), to("h", prefix("/").header("A", "1"))}, "GET h/?a=1&b=2", []string{"A", "1"}, "h"},
		{"more query parameters beat fewer", []Rule{to("one", prefix("/").param("a", "1")), to("two", prefix("/").param("a", "1").param("b", "2"))}, "GET h/?a=1&b=2", nil, "two"},
		{"the older route wins a tie", []Rule{to("young").born(2026), to("old").born(2020)}, "GET h/", nil, "old"},
		{"a route of unknown age loses to one of known age", []Rule{to("a"), to("b").born(2026)}, "GET h/", nil, "b"},
		{"at the same age the name decides", []Rule{to("b").born(2020), to("a").born(2020)}, "GET h/", nil, "a"},
		{"within a route the order decides", []Rule{
			{Route: Ref{"HTTPRoute", "ns", "r"}, Name: "first", Targets: []Target{{Weight: 1, Backend: "ns/first"}}},
			{Route: Ref{"HTTPRoute", "ns", "r"}, Name: "second", Targets: []Target{{Weight: 1, Backend: "ns/second"}}},
		}, "GET h/", nil, "first"},
		{"an exact hostname beats a wildcard, even with a weaker path", []Rule{to("wild", exact("/x")).on("*.example.com"), to("name").on("a.example.com")}, "GET a.example.com/x", nil, "name"},
		{"a longer wildcard beats a shorter one", []Rule{to("short").on("*.com"), to("long").on("*.example.com")}, "GET a.example.com/", nil, "long"},
		{"a wildcard beats no hostname", []Rule{to("any").born(2000), to("wild").on("*.example.com")}, "GET a.example.com/", nil, "wild"},
		{"a wildcard stands for several labels", []Rule{to("wild").on("*.example.com")}, "GET a.b.example.com/", nil, "wild"},
		{"a wildcard does not stand for none", []Rule{to("wild").on("*.example.com")}, "GET example.com/", nil, "no-route"},
		{"a less specific hostname serves what the more specific one has no rule for", []Rule{to("name", prefix("/a")).on("a.example.com"), to("wild").on("*.example.com")}, "GET a.example.com/b", nil, "wild"},
		{"one of several matches is enough", []Rule{to("r", exact("/a"), exact("/b"))}, "GET h/b", nil, "r"},
		{"a header in two lines is one list", []Rule{to("r", prefix("/").header("A", "1,2"))}, "GET h/", []string{"A", "1", "A", "2"}, "r"},
		{"an absent header does not match an expression for nothing", []Rule{to("r", Match{Headers: []ValueMatch{{"A", ".*", true}}})}, "GET h/", nil, "no-route"},
		{"of a repeated query parameter the first counts", []Rule{to("r", prefix("/").param("a", "1"))}, "GET h/?a=2&a=1", nil, "no-route"},
		{"a query parameter matches an expression as a whole", []Rule{to("r", Match{Query: []ValueMatch{{"a", "1", true}}})}, "GET h/?a=11", nil, "no-route"},
		{"the method is case sensitive", []Rule{to("r", prefix("/").method("GET"))}, "get h/", nil, "no-route"},
		{"an encoded letter is the letter", []Rule{to("r", exact("/v1"))}, "GET h/%761", nil, "r"},
		{"an encoded slash is no separator", []Rule{to("r", prefix("/a/b"))}, "GET h/a%2fb", nil, "no-route"},
		{"an encoded slash in a route is the same in either case", []Rule{to("r", exact("/a%2fb"))}, "GET h/a%2Fb", nil, "r"},
		{"an empty segment is a segment", []Rule{to("r", prefix("/a/b"))}, "GET h/a//b", nil, "no-route"},
		{"a dot segment is refused", []Rule{to("r")}, "GET h/a/../b", nil, "bad-path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w world
			w.listener("http", "", c.rules...)
			got := outcome(w.compile(t).Decide(ask(t, c.ask, c.with...)))
			if got != c.want {
				t.Errorf("%s goes to %s, want %s", c.ask, got, c.want)
			}
		})
	}
}

func TestListenersAreIsolated(t *testing.T) {
	var w world
	w.listener("any", "", to("any"))
	w.listener("wild", "*.example.com", to("wild", prefix("/wild")))
	w.listener("name", "a.example.com", to("name", prefix("/name")))
	w.listener("empty", "nothing.example.com")
	s := w.compile(t)
	for _, c := range []struct{ name, ask, want, listener string }{
		{"the most specific listener serves", "GET a.example.com/name", "name", "name"},
		{"its hostname is matched in any case of the manifest", "GET a.example.com/name/x", "name", "name"},
		{"a request it has no rule for does not fall to a wider listener", "GET a.example.com/wild", "no-route", "name"},
		{"nor to the one for any host", "GET a.example.com/", "no-route", "name"},
		{"a listener without rules owns its host too", "GET nothing.example.com/wild", "no-route", "empty"},
		{"a wildcard listener serves other names", "GET b.example.com/wild", "wild", "wild"},
		{"the listener for any host serves the rest", "GET other.org/", "any", "any"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := s.Decide(ask(t, c.ask))
			if got := outcome(d); got != c.want || d.Listener.Name != c.listener {
				t.Errorf("%s: %s at listener %s, want %s at %s", c.ask, got, d.Listener.Name, c.want, c.listener)
			}
		})
	}
	t.Run("another port has no listener", func(t *testing.T) {
		q := ask(t, "GET a.example.com/name")
		q.Port = 81
		if d := s.Decide(q); d.Reason != NoListener || d.Listener != nil {
			t.Errorf("port 81: %+v, want %s", d, NoListener)
		}
	})
	t.Run("port 0 is any port of the protocol", func(t *testing.T) {
		q := ask(t, "GET a.example.com/name")
		q.Port = 0
		if got := outcome(s.Decide(q)); got != "name" {
			t.Errorf("port 0 goes to %s, want name", got)
		}
	})
	t.Run("another protocol has no listener", func(t *testing.T) {
		q := ask(t, "GET a.example.com/name")
		q.Protocol = ProtocolTunnel
		if got := s.Decide(q).Reason; got != NotGranted {
			t.Errorf("tunnel: %s, want %s", got, NotGranted)
		}
	})
}

func TestAnAliasMeansAnotherBackendInEachNamespace(t *testing.T) {
	var w world
	w.listener("http", "",
		to("a").on("openai").callers("team-a").born(2024),
		to("b").on("openai").callers("team-b").born(2024),
		to("everybody").on("openai").born(2025),
		to("first").on("stripe").born(2023),
		to("late").on("stripe").callers("team-a").born(2024),
	)
	s := w.compile(t)
	for _, c := range []struct{ name, host, namespace, want string }{
		{"team-a gets its own", "openai", "team-a", "a"},
		{"team-b gets its own", "openai", "team-b", "b"},
		{"others get the rule for everybody", "openai", "team-c", "everybody"},
		{"a caller without namespace gets the rule for everybody", "openai", "", "everybody"},
		{"an older rule for everybody still wins", "stripe", "team-a", "first"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := ask(t, "GET "+c.host+"/")
			q.Namespace = c.namespace
			if got := outcome(s.Decide(q)); got != c.want {
				t.Errorf("%s from %q goes to %s, want %s", c.host, c.namespace, got, c.want)
			}
		})
	}
}

func TestWeights(t *testing.T) {
	rule := func(targets ...Target) *Snapshot {
		var w world
		r := to("r")
		r.Targets = targets
		w.listener("http", "", r)
		return w.compile(t)
	}
	at := func(s *Snapshot, draw uint32) string {
		q := ask(t, "GET h/")
		q.Draw = draw
		return outcome(s.Decide(q))
	}
	t.Run("draws are shared out by weight", func(t *testing.T) {
		s := rule(Target{Weight: 3, Backend: "ns/a"}, Target{Weight: 0, Backend: "ns/never"}, Target{Weight: 1, Backend: "ns/b"})
		got := map[string]int{}
		for i := range uint32(1024) {
			got[at(s, i<<22)]++
		}
		if diff := cmp.Diff(map[string]int{"a": 768, "b": 256}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the first and the last draw fall inside", func(t *testing.T) {
		s := rule(Target{Weight: 1, Backend: "ns/a"}, Target{Weight: 1, Backend: "ns/b"})
		if a, b := at(s, 0), at(s, 1<<32-1); a != "a" || b != "b" {
			t.Errorf("draws 0 and max go to %s and %s, want a and b", a, b)
		}
	})
	t.Run("the share of an invalid target is refused", func(t *testing.T) {
		s := rule(Target{Weight: 1, Invalid: "BackendNotFound"}, Target{Weight: 1, Backend: "ns/b"})
		if a, b := at(s, 0), at(s, 1<<32-1); a != string(NoBackend) || b != "b" {
			t.Errorf("%s and %s, want %s and b", a, b, NoBackend)
		}
	})
	t.Run("a rule whose weights are all zero has no backend", func(t *testing.T) {
		if got := at(rule(Target{Weight: 0, Backend: "ns/a"}), 7); got != string(NoBackend) {
			t.Errorf("%s, want %s", got, NoBackend)
		}
	})
	t.Run("a rule without targets has no backend", func(t *testing.T) {
		if got := at(rule(), 7); got != string(NoBackend) {
			t.Errorf("%s, want %s", got, NoBackend)
		}
	})
}

// who is a caller.
type who struct{ cluster, namespace, account, proof string }

func (w who) asks(q Query) Query {
	q.Cluster, q.Namespace, q.ServiceAccount, q.Proof = w.cluster, w.namespace, w.account, w.proof
	return q
}

func TestGrantsAndIdentity(t *testing.T) {
	const host = ".billing.svc.clusterset.local"
	entry := func(name string, change func(*Backend)) (Rule, Backend) {
		b := Backend{Key: "billing/" + name, Via: ViaEndpoint, GrantRequired: true}
		change(&b)
		return Rule{
			Route: Ref{"Implicit", "billing", name}, Name: "0", Hostnames: []string{name + host},
			Targets: []Target{{Weight: 1, Backend: b.Key}},
		}, b
	}
	var w world
	var rules []Rule
	for name, change := range map[string]func(*Backend){
		"plain":    func(*Backend) {},
		"secret":   func(b *Backend) { b.Credential = "billing/key" },
		"lenient":  func(b *Backend) { b.Credential, b.MinIdentity = "billing/key", "ip" },
		"strict":   func(b *Backend) { b.MinIdentity = "spiffe" },
		"odd":      func(b *Backend) { b.MinIdentity = "dna" },
		"guarded":  func(b *Backend) { b.Filters = []Filter{guarding(RequestGuard{AllowMethods: []string{"GET"}})} },
		"unasked":  func(*Backend) {},
		"narrowed": func(*Backend) {},
	} {
		r, b := entry(name, change)
		rules = append(rules, r)
		w.Backends = append(w.Backends, b)
	}
	// An entry whose own route sends on elsewhere: the grant is that of the entry.
	rules = append(rules, Rule{
		Route: Ref{"HTTPRoute", "billing", "front"}, Name: "0", Hostnames: []string{"front" + host},
		Matches: []Match{prefix("/v1")}, Targets: []Target{{Weight: 1, Backend: "billing/unasked"}},
	}, Rule{
		Route: Ref{"HTTPRoute", "billing", "broken"}, Name: "0", Hostnames: []string{"broken" + host},
		Targets: []Target{{Weight: 1, Invalid: "BackendNotFound"}},
	}, Rule{Route: Ref{"HTTPRoute", "billing", "own"}, Name: "0", Hostnames: []string{"api.example.com"}, Targets: []Target{{Weight: 1, Backend: "billing/plain"}}})
	w.tunnel(rules...)
	all := []string{"billing/plain", "billing/secret", "billing/lenient", "billing/strict", "billing/odd", "billing/guarded", "billing/front", "billing/broken"}
	w.Grants = []Grant{
		{Name: "billing/east", Backends: all, From: []GrantFrom{{Clusters: []string{"east", "lent", "down"}, Namespaces: []string{"shop"}}}},
		{Name: "billing/nobody", Backends: []string{"billing/plain"}, From: []GrantFrom{{Namespaces: []string{"elsewhere"}}}},
		{Name: "billing/all", Backends: []string{"billing/narrowed"}, From: []GrantFrom{{AnyCluster: true, ServiceAccounts: []string{"bot"}}}},
	}
	w.Clusters = []Cluster{{Name: "east"}, {Name: "lent", SourceIPTrusted: true}, {Name: "down", Suspended: true}}
	s := w.compile(t)

	shop := who{"east", "shop", "bot", "token"}
	for _, c := range []struct {
		name, ask string
		who       who
		want      Reason
		proof     string
	}{
		{"a granted caller may", "GET plain" + host + "/", shop, None, ""},
		{"another namespace may not", "GET plain" + host + "/", who{"east", "lab", "bot", "token"}, NotGranted, ""},
		{"another cluster may not, whatever its namespaces are called", "GET plain" + host + "/", who{"west", "shop", "bot", "token"}, NotGranted, ""},
		{"a caller without cluster may not", "GET plain" + host + "/", who{"", "shop", "bot", "token"}, NotGranted, ""},
		{"a grant without clusters names nobody", "GET plain" + host + "/", who{"east", "elsewhere", "bot", "token"}, NotGranted, ""},
		{"a grant for any cluster may narrow by account", "GET narrowed" + host + "/", who{"west", "x", "bot", "ip"}, None, ""},
		{"another account may not", "GET narrowed" + host + "/", who{"west", "x", "cat", "ip"}, NotGranted, ""},
		{"a caller without account is in no list", "GET narrowed" + host + "/", who{"west", "x", "", "ip"}, NotGranted, ""},
		{"an unknown entry looks like one without grant", "GET nothing" + host + "/", shop, NotGranted, ""},
		{"so does a host that is no entry", "GET nothing.example.com/", shop, NotGranted, ""},
		{"and an entry without grant whose route does not match", "GET front" + host + "/v2", who{"west", "shop", "bot", "token"}, NotGranted, ""},
		{"a granted caller learns that no route matches", "GET front" + host + "/v2", shop, NoRoute, ""},
		{"the grant is that of the addressed entry, not of the target", "GET front" + host + "/v1", shop, None, ""},
		{"the target alone gives nothing", "GET unasked" + host + "/", shop, NotGranted, ""},
		{"without grant a broken route looks like none", "GET broken" + host + "/", who{"west", "shop", "bot", "token"}, NotGranted, ""},
		{"a granted caller learns of it", "GET broken" + host + "/", shop, NoBackend, ""},
		{"a host of the hub's own asks for the grant of its target", "GET api.example.com/", shop, None, ""},
		{"and refuses others", "GET api.example.com/", who{"west", "shop", "bot", "token"}, NotGranted, ""},
		{"a suspended cluster may not", "GET plain" + host + "/", who{"down", "shop", "bot", "token"}, ClusterSuspended, ""},
		{"a granted backend wants to know who calls", "GET plain" + host + "/", who{"east", "shop", "bot", ""}, IdentityTooWeak, "ip"},
		{"an address is proof enough without credential", "GET plain" + host + "/", who{"east", "shop", "bot", "ip"}, None, ""},
		{"a credential wants a token", "GET secret" + host + "/", who{"east", "shop", "bot", "ip"}, IdentityTooWeak, "token"},
		{"a token does", "GET secret" + host + "/", shop, None, ""},
		{"a stronger proof meets a weaker demand", "GET secret" + host + "/", who{"east", "shop", "bot", "spiffe"}, None, ""},
		{"where the platform trusts addresses, one does", "GET secret" + host + "/", who{"lent", "shop", "bot", "ip"}, None, ""},
		{"the backend's own word always wins", "GET lenient" + host + "/", who{"east", "shop", "bot", "ip"}, None, ""},
		{"also when it is stricter", "GET strict" + host + "/", shop, IdentityTooWeak, "spiffe"},
		{"a demand nobody knows is met by nothing", "GET odd" + host + "/", who{"east", "shop", "bot", "spiffe"}, IdentityTooWeak, "dna"},
		{"a proof nobody knows proves nothing", "GET plain" + host + "/", who{"east", "shop", "bot", "oath"}, IdentityTooWeak, "ip"},
		{"the grant is judged before the identity", "GET secret" + host + "/", who{"east", "lab", "bot", ""}, NotGranted, ""},
		{"the identity is judged before the guard", "POST guarded" + host + "/", who{"east", "shop", "bot", ""}, IdentityTooWeak, "ip"},
		{"a guard has the last word", "POST guarded" + host + "/", shop, RefusedByGuard, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := c.who.asks(ask(t, c.ask))
			q.Protocol, q.Port = ProtocolTunnel, 0
			d := s.Decide(q)
			if d.Reason != c.want || d.WantProof != c.proof {
				t.Errorf("%+v: %q (wants proof %q), want %q (%q)", c.who, d.Reason, d.WantProof, c.want, c.proof)
			}
			if d.Reason == None && d.Grant == nil {
				t.Error("let in without naming the grant")
			}
			if d.Reason == NotGranted && len(d.Filters) > 0 {
				t.Error("a refused caller's decision tells the filters")
			}
		})
	}
}

func guarding(g RequestGuard) Filter {
	return Filter{Name: "guard", Type: FilterRequestGuard, Phase: PhaseRequestHeaders, Guard: &g}
}

func TestGuards(t *testing.T) {
	admin := guarding(RequestGuard{DenyPaths: []string{"/v1/admin"}})
	v1 := guarding(RequestGuard{AllowPaths: []string{"/v1", "/health/"}})
	get := guarding(RequestGuard{AllowMethods: []string{"GET", "HEAD"}})
	for _, c := range []struct {
		name  string
		guard Filter
		ask   string
		ok    bool
	}{
		{"a denied path is refused", admin, "GET h/v1/admin", false},
		{"so is what lies below it", admin, "GET h/v1/admin/users", false},
		{"a path that only begins alike is not", admin, "GET h/v1/administer", true},
		{"encoded letters do not help", admin, "GET h/v1/%61dmin", false},
		{"nor do double slashes", admin, "GET h/v1//admin", false},
		{"nor does an encoded slash", admin, "GET h/v1%2fadmin", false},
		{"nor a backslash", admin, `GET h/v1\admin`, false},
		{"nor an encoded backslash", admin, "GET h/v1%5Cadmin", false},
		{"nor path parameters", admin, "GET h/v1;x=1/admin;y=2", false},
		{"nor encoded path parameters", admin, "GET h/v1/admin%3By=2", false},
		{"an allowed path passes", v1, "GET h/v1/chat", true},
		{"a slash at the end of the rule makes no difference", v1, "GET h/health", true},
		{"another path does not", v1, "GET h/v2", false},
		{"a path that leads out under another reading does not", v1, "GET h/v1%2f..%2fv2", false},
		{"an encoded slash below an allowed path passes", v1, "GET h/v1/projects/a%2Fb", true},
		{"an allowed method passes", get, "HEAD h/", true},
		{"another one does not", get, "POST h/", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for level, place := range map[string]func(*world, Rule){
				"rule": func(w *world, r Rule) { w.listener("http", "", r.filtered(c.guard)) },
				"target": func(w *world, r Rule) {
					r.Targets[0].Filters = []Filter{c.guard}
					w.listener("http", "", r)
				},
				"backend": func(w *world, r Rule) {
					w.Backends = []Backend{{Key: "ns/r", Filters: []Filter{c.guard}}}
					w.listener("http", "", r)
				},
			} {
				var w world
				place(&w, to("r"))
				d := w.compile(t).Decide(ask(t, c.ask))
				if (d.Reason == None) != c.ok {
					t.Errorf("guard at the %s: %s is %q, want allowed=%v", level, c.ask, d.Reason, c.ok)
				}
				if d.Reason == RefusedByGuard && (d.Filter == nil || d.Filter.Name != "guard") {
					t.Errorf("guard at the %s: the decision does not name the guard", level)
				}
			}
		})
	}
}

func TestFiltersOfAllLevelsAreMerged(t *testing.T) {
	set := func(name string, priority int) Filter {
		return Filter{Name: name, Type: FilterHeaderModifier, Phase: PhaseRequestHeaders, Priority: priority, Headers: &HeaderModifier{}}
	}
	guard := guarding(RequestGuard{})
	guard.Priority = 99
	var w world
	w.Backends = []Backend{{Key: "ns/r", Filters: []Filter{set("backend", 0), set("backend-late", 5)}}}
	r := to("r").filtered(set("rule", 0), set("rule-early", -1), guard)
	r.Targets[0].Filters = []Filter{set("target", 0)}
	w.listener("http", "", r)
	var got []string
	for _, f := range w.compile(t).Decide(ask(t, "GET h/")).Filters {
		got = append(got, f.Name)
	}
	want := []string{"guard", "rule-early", "backend", "rule", "target", "backend-late"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order of filters (-want +got):\n%s", diff)
	}
}

func TestAnUnknownFilter(t *testing.T) {
	for name, open := range map[string]bool{"that fails closed refuses the request": false, "that may fail open lets it pass": true} {
		t.Run(name, func(t *testing.T) {
			var w world
			w.listener("http", "", to("r").filtered(Filter{Name: "pii", Type: "acme.example.com/PII:v1", Phase: PhaseRequestHeaders, FailOpen: open}))
			d := w.compile(t).Decide(ask(t, "GET h/"))
			if want := map[bool]Reason{false: UnknownFilter, true: None}[open]; d.Reason != want {
				t.Errorf("reason %q, want %q", d.Reason, want)
			}
			if !open && d.Filter.Name != "pii" {
				t.Errorf("the decision names %v, want pii", d.Filter)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		rule Rule
		want string // in the error
	}{
		{"a bad path expression", to("r", regex("(")), "missing closing"},
		{"an expression that only makes sense between brackets", to("r", regex("a)|(b")), "unexpected )"},
		{"a bad header expression", to("r", Match{Headers: []ValueMatch{{"A", "[", true}}}), "header A"},
		{"a bad query expression", to("r", Match{Query: []ValueMatch{{"a", "[", true}}}), "query parameter a"},
		{"an unknown path type", to("r", Match{PathType: "Glob", Path: "/*"}), `path type "Glob"`},
		{"a path with dot segments", to("r", exact("/a/../b")), "dot segments"},
		{"a path without slash", to("r", exact("a")), "begin with a slash"},
		{"a missing backend", Rule{Route: Ref{"HTTPRoute", "ns", "r"}, Name: "0", Targets: []Target{{Weight: 1, Backend: "ns/missing"}}}, `"ns/missing"`},
		{"a negative weight", Rule{Route: Ref{"HTTPRoute", "ns", "r"}, Name: "0", Targets: []Target{{Weight: -1, Invalid: "x"}}}, "negative"},
		{"weights that add up too high", Rule{Route: Ref{"HTTPRoute", "ns", "r"}, Name: "0", Targets: []Target{{Weight: 1 << 31, Invalid: "x"}, {Weight: 1, Invalid: "x"}}}, "add up"},
		{"a modifier without content", to("r").filtered(Filter{Name: "f", Type: FilterHeaderModifier, Phase: PhaseRequestHeaders}), "filter f"},
		{"a guard with a path that cannot be judged", to("r").filtered(guarding(RequestGuard{DenyPaths: []string{"/a/.."}})), "dot segments"},
		{"an unknown phase", to("r").filtered(Filter{Name: "f", Type: FilterURLRewrite, Phase: "later", Rewrite: &URLRewrite{}}), `phase "later"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w world
			w.Backends = []Backend{{Key: "ns/r"}}
			w.Listeners = []Listener{{Gateway: "infra/egress", Name: "http", Protocol: ProtocolHTTP, Port: 80, Rules: []Rule{c.rule}}}
			_, err := w.Compile()
			if err == nil {
				t.Fatal("compiled")
			}
			for _, part := range []string{c.want, "HTTPRoute ns/r", "rule 0", "infra/egress/http"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
		})
	}
	t.Run("two backends of one key", func(t *testing.T) {
		_, err := (&Snapshot{Backends: []Backend{{Key: "a/b"}, {Key: "a/b"}}}).Compile()
		if err == nil || !strings.Contains(err.Error(), "a/b") {
			t.Errorf("error %v does not name a/b", err)
		}
	})
}

func TestCompile(t *testing.T) {
	var w world
	w.listener("http", "", to("r"))
	s := w.compile(t)
	if again, err := s.Compile(); again != s || err != nil {
		t.Errorf("Compile of a compiled snapshot = %p, %v; want itself, %p", again, err, s)
	}
	if w.compiled != nil {
		t.Error("Compile changed its receiver")
	}
	if d := w.Decide(ask(t, "GET h/")); d.Reason != NoListener {
		t.Errorf("a snapshot that is not compiled serves %q", outcome(d))
	}
	if s.Backend("ns/r") == nil || s.Backend("ns/x") != nil || w.Backend("ns/r") != nil {
		t.Error("Backend finds what is there, in a compiled snapshot only")
	}
	if s.ReadsQuery() {
		t.Error("ReadsQuery without a query match")
	}
	w.listener("more", "x", to("q", prefix("/").param("a", "1")))
	if !w.compile(t).ReadsQuery() {
		t.Error("no ReadsQuery with a query match")
	}
}
