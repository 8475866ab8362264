package route

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// slow answers which rule a query goes to by looking at everything: the rules of Gateway API written down once more,
// without any index. Decide must agree with it on every input.
func slow(s *Snapshot, q Query) (*Listener, *Rule, *Match) {
	path, err := CleanPath(q.Path)
	if err != nil {
		return nil, nil, nil
	}
	var listeners []*Listener
	best := -1
	for i := range s.Listeners {
		l := &s.Listeners[i]
		fit := hostFit(l.Hostname, q.Host)
		if l.Protocol != q.Protocol || q.Port != 0 && l.Port != q.Port || fit < 0 || fit < best {
			continue
		}
		if fit > best {
			listeners, best = nil, fit
		}
		listeners = append(listeners, l)
	}
	type candidate struct {
		l     *Listener
		r     *Rule
		m     *Match
		score []int
	}
	var won *candidate
	for _, l := range listeners {
		for i := range l.Rules {
			r := &l.Rules[i]
			host := -1
			for _, h := range r.Hostnames {
				host = max(host, hostFit(h, q.Host))
			}
			if len(r.Hostnames) == 0 {
				host = 0
			}
			if host < 0 || len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, q.Namespace) {
				continue
			}
			matches := []*Match{nil}
			if len(r.Matches) > 0 {
				matches = nil
			}
			for j := range r.Matches {
				matches = append(matches, &r.Matches[j])
			}
			for _, m := range matches {
				score := matchScore(m, path.String(), &q)
				if score == nil {
					continue
				}
				c := &candidate{l, r, m, append([]int{host}, score...)}
				if won == nil || better(c.score, c.r, won.score, won.r) {
					won = c
				}
			}
		}
	}
	if won == nil {
		return nil, nil, nil
	}
	return won.l, won.r, won.m
}

// hostFit is -1 without a match, else higher for a more specific one.
func hostFit(pattern, host string) int {
	switch suffix, wild := strings.CutPrefix(pattern, "*"); {
	case pattern == "":
		return 0
	case wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix):
		return len(suffix)
	case !wild && pattern == host:
		return 10_000
	}
	return -1
}

func matchScore(m *Match, path string, q *Query) []int {
	if m == nil {
		return []int{0, 0, 0, 0, 0}
	}
	kind, length := 0, 0
	switch m.PathType {
	case PathExact:
		if path != m.Path {
			return nil
		}
		kind = 2
	case PathRegex:
		if !regexp.MustCompile("^(" + m.Path + ")$").MatchString(path) {
			return nil
		}
		kind, length = 1, len(m.Path)
	case PathMethod:
		if !regexp.MustCompile("^/[^/]*/" + m.Path + "$").MatchString(path) {
			return nil
		}
		length = 1 // more than the prefix of everything, less than any other
	default:
		p := strings.TrimSuffix(m.Path, "/")
		if path != p && !strings.HasPrefix(path, p+"/") {
			return nil
		}
		length = len(p)
	}
	method := 0
	if m.Method != "" {
		if m.Method != q.Method {
			return nil
		}
		method = 1
	}
	for _, h := range m.Headers {
		value := q.Header.Get(h.Name)
		if h.Regex && (value == "" || !regexp.MustCompile("^("+h.Value+")$").MatchString(value)) || !h.Regex && value != h.Value {
			return nil
		}
	}
	for _, p := range m.Query {
		if !q.Values.Has(p.Name) || q.Values.Get(p.Name) != p.Value {
			return nil
		}
	}
	return []int{kind, length, method, len(m.Headers), len(m.Query)}
}

func better(a []int, ra *Rule, b []int, rb *Rule) bool {
	if c := slices.Compare(a, b); c != 0 {
		return c > 0
	}
	if ra.Created.IsZero() != rb.Created.IsZero() {
		return rb.Created.IsZero()
	}
	return cmp.Or(ra.Created.Compare(rb.Created),
		strings.Compare(ra.Route.Namespace+"/"+ra.Route.Name, rb.Route.Namespace+"/"+rb.Route.Name),
		strings.Compare(ra.Route.Kind, rb.Route.Kind)) < 0
}

// generated makes a small world full of collisions.
func generated(r *rand.Rand) *Snapshot {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	host := func() string { return pick("", "*.a.b", "*.b", "x.a.b", "y.b", "a.b") }
	path := func() string { return pick("/", "/p", "/p/", "/p/q", "/p/q/r", "/q") }
	var s Snapshot
	for n := range 4 {
		s.Backends = append(s.Backends, Backend{Key: fmt.Sprintf("ns/b%d", n), GrantRequired: r.IntN(4) == 0})
	}
	for l := range 1 + r.IntN(4) {
		listener := Listener{Gateway: "gw", Name: fmt.Sprint(l), Protocol: Protocol(pick(string(ProtocolHTTP), string(ProtocolHTTP), string(ProtocolTunnel))), Port: 80 + r.IntN(2), Hostname: host()}
		for range r.IntN(6) {
			rule := Rule{Route: Ref{pick("HTTPRoute", "Alias"), pick("m", "n"), pick("r", "s", "t")}, Name: "0"}
			for range r.IntN(3) {
				if h := host(); h != "" {
					rule.Hostnames = append(rule.Hostnames, h)
				}
			}
			if r.IntN(3) == 0 {
				rule.Namespaces = []string{pick("one", "two")}
			}
			if r.IntN(3) > 0 {
				rule.Created = time.Unix(int64(r.IntN(3)), 0)
			}
			for range r.IntN(3) {
				m := Match{PathType: PathType(pick(string(PathExact), string(PathPrefix), string(PathPrefix), string(PathRegex), string(PathMethod)))}
				if m.Path = path(); m.PathType == PathRegex {
					m.Path = pick("/.*", "/p.*", "/p/[a-z]+", "/q|/p")
				}
				if m.PathType == PathMethod {
					m.Path = pick("p", "q", "r")
				}
				m.Method = pick("", "", "GET", "POST")
				for _, name := range []string{"A", "B"} {
					if r.IntN(3) == 0 {
						m.Headers = append(m.Headers, ValueMatch{Name: name, Value: pick("1", "2", "[12]"), Regex: r.IntN(3) == 0})
					}
					if r.IntN(4) == 0 {
						m.Query = append(m.Query, ValueMatch{Name: name, Value: pick("1", "2")})
					}
				}
				rule.Matches = append(rule.Matches, m)
			}
			for range r.IntN(3) {
				rule.Targets = append(rule.Targets, Target{Weight: r.IntN(3), Backend: fmt.Sprintf("ns/b%d", r.IntN(4))})
			}
			listener.Rules = append(listener.Rules, rule)
		}
		s.Listeners = append(s.Listeners, listener)
	}
	if r.IntN(2) == 0 {
		s.Grants = []Grant{{Name: "ns/g", Backends: []string{"ns/b0", "ns/b1"}, From: []GrantFrom{{AnyCluster: true, Namespaces: []string{"one"}}}}}
	}
	return &s
}

func asked(r *rand.Rand) Query {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	q := Query{
		Port: []int{0, 80, 81}[r.IntN(3)], Protocol: Protocol(pick(string(ProtocolHTTP), string(ProtocolHTTP), string(ProtocolTunnel))),
		Host: pick("x.a.b", "y.b", "a.b", "b", "z.x.a.b", "", ".a.b"), Path: pick("/", "/p", "/p/", "/p/q", "/p/q/", "/p/x", "/p/q/r/s", "/%70/q", "//p", "/..", ""),
		Method: pick("GET", "POST"), Header: http.Header{}, Values: url.Values{},
		Cluster: pick("", "east"), Namespace: pick("", "one", "two"), Proof: pick("", "ip", "token"), Draw: r.Uint32(),
	}
	for _, name := range []string{"A", "B"} {
		if v := pick("", "1", "2"); v != "" {
			q.Header.Set(name, v)
		}
		if v := pick("", "1", "2"); v != "" {
			q.Values.Set(name, v)
		}
	}
	return q
}

// agree fails the test where the index and the slow way differ, or where Decide is not a function of its input.
func agree(t *testing.T, s *Snapshot, q Query) {
	t.Helper()
	d := s.Decide(q)
	listener, rule, match := slow(s, q)
	if d.Reason != NotGranted && d.Reason != BadPath {
		if d.Rule != rule || d.Match != match || rule != nil && d.Listener != listener {
			t.Fatalf("%+v\nDecide: %v by %+v\nslow:   %v by %+v", q, d.Rule, d.Match, rule, match)
		}
	}
	if d.Reason == None && (d.Backend == nil || d.Target == nil || d.Backend.Key != d.Target.Backend || d.Target.Weight == 0) {
		t.Fatalf("let on without a way: %+v", d)
	}
	if d.Reason == None && d.Backend.GrantRequired && d.Addressed == "" && d.Grant == nil {
		t.Fatalf("let on without a grant: %+v", d)
	}
	if again := s.Decide(q); again.Reason != d.Reason || again.Rule != d.Rule || again.Target != d.Target {
		t.Fatalf("the same question, another answer: %+v, %+v", d, again)
	}
}

func TestTheIndexAgreesWithAScanOfEverything(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, err := generated(r).Compile()
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			agree(t, s, asked(r))
		}
	}
}

// FuzzDecide: any request to any generated world gets one answer, the one that the slow way gives, and never a panic.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(1), "x.a.b", "/p/q", "GET", "one", "token", uint32(0))
	f.Add(uint64(2), "", "//p/%2e%2e", "POST", "", "", uint32(1<<31))
	f.Add(uint64(3), ".", "/%70", "", "two", "ip", uint32(1<<32-1))
	f.Add(uint64(4), "b0.ns.svc.clusterset.local", "/p/", "GET", "one", "spiffe", uint32(7))
	f.Fuzz(func(t *testing.T, seed uint64, host, path, method, namespace, proof string, draw uint32) {
		r := rand.New(rand.NewPCG(seed, 2))
		s, err := generated(r).Compile()
		if err != nil {
			t.Fatal(err)
		}
		q := asked(r)
		q.Host, q.Path, q.Method, q.Namespace, q.Proof, q.Draw = host, path, method, namespace, proof, draw
		agree(t, s, q)
	})
}

// BenchmarkDecide shows that a table of 10,000 routes costs a lookup, not a scan: the two must be within a small factor.
func BenchmarkDecide(b *testing.B) {
	for _, size := range []int{10, 10_000} {
		for name, host := range map[string]func(int) string{
			"exact hosts":    func(n int) string { return fmt.Sprintf("h%d.example.com", n) },
			"one host":       func(int) string { return "api.example.com" },
			"wildcard hosts": func(n int) string { return fmt.Sprintf("*.h%d.example.com", n) },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				var w world
				var rules []Rule
				for n := range size {
					rules = append(rules, to(fmt.Sprintf("r%d", n), prefix(fmt.Sprintf("/team/%d/v1", n)), exact(fmt.Sprintf("/health/%d", n))).on(host(n)))
				}
				w.listener("http", "", rules...)
				s := w.compile(b)
				n := size / 2
				q := ask(b, "GET "+strings.Replace(host(n), "*", "x", 1)+fmt.Sprintf("/team/%d/v1/chat/completions", n))
				if got := outcome(s.Decide(q)); got != fmt.Sprintf("r%d", n) {
					b.Fatalf("goes to %s", got)
				}
				b.ReportAllocs()
				for b.Loop() {
					s.Decide(q)
				}
			})
		}
	}
	b.Run("one alias of 10000 namespaces", func(b *testing.B) {
		var w world
		var rules []Rule
		for n := range 10_000 {
			rules = append(rules, to(fmt.Sprintf("r%d", n)).on("openai").callers(fmt.Sprintf("ns%d", n)))
		}
		w.listener("http", "", rules...)
		s := w.compile(b)
		q := ask(b, "POST openai/v1/chat/completions")
		q.Namespace = "ns7777"
		b.ReportAllocs()
		for b.Loop() {
			s.Decide(q)
		}
	})
}
