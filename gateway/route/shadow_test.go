package route

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func (m Match) like(name, expr string) Match {
	m.Headers = append(m.Headers, ValueMatch{Name: name, Value: expr, Regex: true})
	return m
}

// shadowNames says shadows as "r: by s" and "r[1]: at listener special", r being the rule's route.
func shadowNames(s *Snapshot) string {
	var names []string
	for _, x := range s.Shadowed() {
		name := x.Rule.Route.Name
		if x.Match > 0 {
			name += fmt.Sprintf("[%d]", x.Match)
		}
		switch {
		case x.By != nil:
			name += ": by " + x.By.Route.Name
		case x.Elsewhere != nil:
			name += ": at listener " + x.Elsewhere.Name
		default:
			name += ": no path"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func TestWhatNeverWins(t *testing.T) {
	for _, row := range []struct {
		name  string
		rules []Rule
		want  string
	}{
		{"nothing beside nothing", []Rule{to("a")}, ""},
		{"of two equal rules the younger one", []Rule{to("a", prefix("/v1")).born(2025), to("b", prefix("/v1")).born(2024)}, "a: by b"},
		{"of two without age the later name", []Rule{to("b", prefix("/v1")), to("a", prefix("/v1"))}, "b: by a"},
		{"a rule without matches is the prefix of everything", []Rule{to("a"), to("b", prefix("/"))}, "b: by a"},
		{"a slash at the end of a prefix makes no difference", []Rule{to("a", prefix("/v1/")), to("b", prefix("/v1"))}, "b: by a"},
		{"an empty segment does", []Rule{to("a", prefix("//v1")), to("b", prefix("/v1"))}, ""},
		{"an exact path is another thing than a prefix", []Rule{to("a", prefix("/v1")), to("b", exact("/v1"))}, ""},
		{"of two equal exact paths the second", []Rule{to("a", exact("/v1")), to("b", exact("/v1"))}, "b: by a"},
		{"and their slash makes a difference", []Rule{to("a", exact("/v1")), to("b", exact("/v1/"))}, ""},
		{"a path in another spelling is the same", []Rule{to("a", exact("/%76%31")), to("b", exact("/v1"))}, "b: by a"},
		{"a longer prefix stands first", []Rule{to("a", prefix("/")), to("b", prefix("/v1"))}, ""},

		{"a match with a method stands first", []Rule{to("a", prefix("/v1")), to("b", prefix("/v1").method("GET"))}, ""},
		{"another method", []Rule{to("a", prefix("/v1").method("GET")), to("b", prefix("/v1").method("POST"))}, ""},
		{"the same method", []Rule{to("a", prefix("/v1").method("GET")), to("b", prefix("/v1").method("GET"))}, "b: by a"},
		{"a method counts more than headers, so both have requests", []Rule{to("a", prefix("/").method("GET")), to("b", prefix("/").header("x", "1"))}, ""},
		{"headers that demand more, younger", []Rule{to("a", prefix("/").header("x", "1")), to("b", prefix("/").header("x", "1").header("y", "2"))}, ""},
		{"headers in another order and case", []Rule{to("a", prefix("/").header("x", "1").header("y", "2")), to("b", prefix("/").header("Y", "2").header("X", "1"))}, "b: by a"},
		{"another value", []Rule{to("a", prefix("/").header("x", "1")), to("b", prefix("/").header("x", "2"))}, ""},
		{"an expression that takes the value", []Rule{to("a", prefix("/").like("x", "[0-9]")), to("b", prefix("/").header("x", "1"))}, "b: by a"},
		{"an expression that does not", []Rule{to("a", prefix("/").like("x", "[2-9]")), to("b", prefix("/").header("x", "1"))}, ""},
		{"a value before an expression that takes it", []Rule{to("a", prefix("/").header("x", "1")), to("b", prefix("/").like("x", "[0-9]"))}, ""},
		{"a value is no expression", []Rule{to("a", prefix("/").header("x", "1")), to("b", prefix("/").like("x", "1"))}, ""},
		{"equal expressions", []Rule{to("a", prefix("/").like("x", ".+")), to("b", prefix("/").like("x", ".+"))}, "b: by a"},
		{"headers count more than parameters, so both have requests", []Rule{to("a", prefix("/").header("x", "1")), to("b", prefix("/").param("x", "1"))}, ""},
		{"a parameter beside a header that an older rule demands alone", []Rule{to("a", prefix("/").param("x", "1")), to("b", prefix("/").param("x", "1").param("y", "1"))}, ""},
		{"equal parameters", []Rule{to("a", prefix("/").param("x", "1")), to("b", prefix("/").param("x", "1"))}, "b: by a"},

		{"an expression that takes everything hides prefixes", []Rule{to("a", regex("/.*")), to("b", prefix("/v1")), to("c")}, "b: by a, c: by a"},
		{"whichever way it is written", []Rule{to("a", regex("^.*$")), to("b", prefix("/v1"))}, "b: by a"},
		{"but no exact paths", []Rule{to("a", regex("/.*")), to("b", exact("/v1"))}, ""},
		{"nor longer expressions", []Rule{to("a", regex("/.*")), to("b", regex("/v[0-9]"))}, ""},
		{"but shorter ones", []Rule{to("a", regex("/v1.*")), to("b", regex("/v12"))}, "b: by a"},
		{"an expression that demands a header hides only what demands it too", []Rule{to("a", regex("/.*").header("x", "1")), to("b", prefix("/v1")), to("c", prefix("/v1").header("x", "1"))}, "c: by a"},
		{"an expression with a beginning hides the prefixes under it", []Rule{to("a", regex("/v1.*")), to("b", prefix("/v1")), to("c", prefix("/v1/chat")), to("d", prefix("/v2")), to("e", prefix("/v"))}, "b: by a, c: by a"},
		{"one that wants a slash leaves the path without one", []Rule{to("a", regex("/v1/.*")), to("b", prefix("/v1")), to("c", prefix("/v1/chat"))}, "c: by a"},
		{"a quoted star is a star", []Rule{to("a", regex(`/v1\.*`)), to("b", prefix("/v1"))}, ""},
		{"alternatives are looked at by nobody", []Rule{to("a", regex("/x|/v1.*")), to("b", prefix("/v1"))}, ""},
		{"equal expressions of a path", []Rule{to("a", regex("/[a-z]+")), to("b", regex("/[a-z]+"))}, "b: by a"},
		{"an expression without slash at its begin", []Rule{to("a", regex("v1/.*")), to("b", regex("[/]v1"))}, "a: no path"},

		{"a gRPC method of any service", []Rule{to("a", method("Get")), to("b", method("Get")), to("c", method("Set"))}, "b: by a"},
		{"below an expression that takes everything", []Rule{to("a", regex("/.*")), to("b", method("Get"))}, "b: by a"},

		{"callers of one namespace among all", []Rule{to("a"), to("b").callers("one")}, "b: by a"},
		{"all callers after those of one namespace", []Rule{to("a").callers("one"), to("b")}, ""},
		{"callers of some namespaces among more", []Rule{to("a").callers("one", "two"), to("b").callers("two"), to("c").callers("two", "three")}, "b: by a"},

		{"another hostname", []Rule{to("a").on("x.example.com"), to("b").on("y.example.com")}, ""},
		{"a wildcard leaves the exact name, which stands first", []Rule{to("a").on("*.example.com"), to("b").on("x.example.com")}, ""},
		{"hostnames in another case", []Rule{to("a").on("X.example.com"), to("b").on("x.Example.com")}, "b: by a"},
		{"one of two hostnames is left", []Rule{to("a").on("x.example.com"), to("b").on("x.example.com", "y.example.com")}, ""},
		{"each of two hostnames is taken by somebody", []Rule{to("a").on("x.example.com"), to("b").on("y.example.com"), to("c").on("y.example.com", "x.example.com")}, "c: by a"},
		{"one match of two", []Rule{to("a", prefix("/v1")), to("b", prefix("/v2"), prefix("/v1"))}, "b[1]: by a"},
		{"what is hidden hides nothing by itself", []Rule{to("a"), to("b"), to("c")}, "b: by a, c: by a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w world
			for i := range row.rules {
				w.Listeners = nil
				w.listener("http", "", row.rules[:i+1]...)
			}
			for _, s := range []*Snapshot{&w.Snapshot, w.compile(t)} {
				if got := shadowNames(s); got != row.want {
					t.Errorf("Shadowed: %q, want %q", got, row.want)
				}
			}
		})
	}
}

func TestAListenerTakesAllOfItsHostname(t *testing.T) {
	for _, row := range []struct {
		name            string
		listeners       []string
		at              int // the listener of the rule
		hostnames, want string
	}{
		{"no other", []string{""}, 0, "x.example.com", ""},
		{"an exact one", []string{"", "x.example.com"}, 0, "x.example.com", "r: at listener 1"},
		{"in another case", []string{"", "X.Example.com"}, 0, "x.example.com", "r: at listener 1"},
		{"a wildcard that covers the name", []string{"", "*.example.com"}, 0, "x.example.com", "r: at listener 1"},
		{"a wildcard that covers the wildcard", []string{"", "*.example.com"}, 0, "*.a.example.com", "r: at listener 1"},
		{"the longer wildcard is the rule's own", []string{"*.a.example.com", "*.example.com"}, 0, "*.a.example.com", ""},
		{"a wildcard that covers some of the rule's", []string{"", "*.a.example.com"}, 0, "*.example.com", ""},
		{"one name of many", []string{"", "x.example.com"}, 0, "*.example.com", ""},
		{"a rule for any host", []string{"", "x.example.com"}, 0, "", ""},
		{"one of two names", []string{"", "x.example.com"}, 0, "x.example.com y.example.com", ""},
		{"both, one here and one there", []string{"", "x.example.com", "y.example.com"}, 0, "y.example.com x.example.com", "r: at listener 1"},
		{"a rule wider than its listener", []string{"x.example.com", "*.example.com"}, 0, "*.example.com", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			var w world
			for i, hostname := range row.listeners {
				if i == row.at {
					w.listener(fmt.Sprint(i), hostname, to("r").on(strings.Fields(row.hostnames)...))
				} else {
					w.listener(fmt.Sprint(i), hostname)
				}
			}
			if got := shadowNames(&w.Snapshot); got != row.want {
				t.Errorf("Shadowed: %q, want %q", got, row.want)
			}
			w.Listeners[row.at].Port++
			if got := shadowNames(&w.Snapshot); got != "" {
				t.Errorf("on a port of its own: %q, want none", got)
			}
		})
	}
}

// aimed is a query that meets a match, as far as that can be, and is anything else beside.
func aimed(r *rand.Rand, x Shadow) Query {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	q := asked(r)
	q.Protocol = x.Listener.Protocol
	q.Port = []int{0, x.Listener.Port}[r.IntN(2)]
	host := x.Listener.Hostname
	if len(x.Rule.Hostnames) > 0 {
		host = pick(x.Rule.Hostnames...)
	}
	if rest, wild := strings.CutPrefix(host, "*"); wild {
		q.Host = pick("x", "y", "z.x", "z.y") + rest
	} else if host != "" {
		q.Host = host
	}
	if len(x.Rule.Namespaces) > 0 {
		q.Namespace = pick(x.Rule.Namespaces...)
	}
	if len(x.Rule.Matches) == 0 {
		return q
	}
	m := x.Rule.Matches[x.Match]
	switch m.PathType {
	case PathExact:
		q.Path = m.Path
	case PathMethod:
		q.Path = "/" + pick("p", "q", "x.y") + "/" + m.Path
	case PathRegex:
		q.Path = pick("/", "/p", "/p/", "/p/q", "/p/q/r", "/q", "/pp", "/%2F")
	default:
		q.Path = strings.TrimSuffix(m.Path, "/") + pick("", "/", "/p", "/q/r", "//", "/%2F")
	}
	if m.Method != "" {
		q.Method = m.Method
	}
	for _, h := range m.Headers {
		q.Header.Set(h.Name, strings.NewReplacer("[12]", pick("1", "2")).Replace(h.Value))
	}
	for _, p := range m.Query {
		q.Values.Set(p.Name, p.Value)
	}
	return q
}

// crowded is a generated world with few differences: of one host and a few paths.
func crowded(r *rand.Rand) *Snapshot {
	s := generated(r)
	for i := range s.Listeners {
		l := &s.Listeners[i]
		for j := range l.Rules {
			if r.IntN(2) == 0 {
				l.Rules[j].Hostnames = nil
			}
			for k := range l.Rules[j].Matches {
				m := &l.Rules[j].Matches[k]
				if r.IntN(2) == 0 {
					m.Headers, m.Query = nil, nil
				}
				if m.PathType == PathRegex && r.IntN(2) == 0 {
					m.Path = []string{".*", "^/p.*$", "/p/.*", "p", `/p\.*`, "/q|/p.*"}[r.IntN(6)]
				}
			}
		}
		for range r.IntN(4) {
			if len(l.Rules) > 0 { // somebody copies a rule and changes a little
				copied := l.Rules[r.IntN(len(l.Rules))]
				copied.Route.Name, copied.Created = "copy", time.Unix(int64(r.IntN(3)), 0)
				l.Rules = append(l.Rules, copied)
			}
		}
	}
	return s
}

// TestAShadowNeverWins asks 100,000 times and more for what meets a match that is called a shadow, and shows that it would
// be met were it alone.
func TestAShadowNeverWins(t *testing.T) {
	queries, met, shadows := 0, 0, 0
	for seed := uint64(0); queries < 100_000; seed++ {
		r := rand.New(rand.NewPCG(seed, 3))
		s, err := crowded(r).Compile()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range s.Shadowed() {
			shadows++
			alone := &Snapshot{Listeners: []Listener{*x.Listener}, Backends: s.Backends}
			alone.Listeners[0].Rules = []Rule{*x.Rule}
			if alone, err = alone.Compile(); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				q := aimed(r, x)
				queries++
				won := func(d Decision, rule *Rule) bool {
					return d.Rule == rule && (d.Match == nil || d.Match == &rule.Matches[x.Match])
				}
				if d := s.Decide(q); won(d, x.Rule) {
					t.Fatalf("seed %d: %+v\ncomes to %s match %d, which was called a shadow of %+v", seed, q, x.Rule.Route, x.Match, x.By)
				}
				if d := alone.Decide(q); won(d, &alone.Listeners[0].Rules[0]) {
					met++
				}
			}
		}
	}
	if met < queries/2 {
		t.Errorf("only %d of %d queries met their match: the test shows too little", met, queries)
	}
	t.Logf("%d queries met %d times one of %d shadows", queries, met, shadows)
}

// BenchmarkShadows shows a cost that grows with the number of rules, not with its square, where all of them stand in one
// place.
func BenchmarkShadows(b *testing.B) {
	for _, row := range []struct {
		name string
		rule func(n int) Rule
	}{
		{"equal", func(int) Rule { return to("r", prefix("/v1")) }},
		{"paths", func(n int) Rule { return to("r", prefix(fmt.Sprintf("/team/%d", n))) }},
		{"values", func(n int) Rule { return to("r", prefix("/").header("tenant", fmt.Sprint(n))) }},
		{"second values", func(n int) Rule { return to("r", prefix("/").header("a", "1").header("tenant", fmt.Sprint(n))) }},
		{"namespaces", func(n int) Rule { return to("r").callers(fmt.Sprintf("ns%d", n)) }},
		{"expressions", func(n int) Rule { return to("r", regex(fmt.Sprintf("/team/%d/.*", n))) }},
		{"hosts", func(n int) Rule { return to("r").on(fmt.Sprintf("h%d.example.com", n)) }},
		{"wildcard hosts", func(n int) Rule { return to("r").on(fmt.Sprintf("*.h%d.example.com", n)) }},
	} {
		for _, many := range []int{1_000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", row.name, many), func(b *testing.B) {
				rules := make([]Rule, many)
				for i := range rules {
					rules[i] = row.rule(i)
				}
				s := &Snapshot{Listeners: []Listener{{Gateway: "gw", Name: "http", Protocol: ProtocolHTTP, Port: 80, Rules: rules}}}
				want := 0
				if row.name == "equal" {
					want = many - 1
				}
				for b.Loop() {
					if got := len(s.Shadowed()); got != want {
						b.Fatalf("%d shadows, want %d", got, want)
					}
				}
			})
		}
	}
}
