package route

import (
	"fmt"
	"testing"
)

func method(name string) Match { return Match{PathType: PathMethod, Path: name} }

func TestWhereAGRPCMethodStands(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []Rule
		ask   string
		want  string
	}{
		{"a method of any service is found", []Rule{to("m", method("Get"))}, "POST h/a.Service/Get", "m"},
		{"another method is not", []Rule{to("m", method("Get"))}, "POST h/a.Service/Put", "no-route"},
		{"its name is compared as a whole", []Rule{to("m", method("Get"))}, "POST h/a.Service/GetAll", "no-route"},
		{"its case counts", []Rule{to("m", method("Get"))}, "POST h/a.Service/get", "no-route"},
		{"a method is the second of two segments", []Rule{to("m", method("Get"))}, "POST h/x/a.Service/Get", "no-route"},
		{"and not the first", []Rule{to("m", method("Get"))}, "POST h/Get", "no-route"},
		{"service and method stand before the method alone", []Rule{to("m", method("Get")), to("both", exact("/a.Service/Get"))}, "POST h/a.Service/Get", "both"},
		{"the service alone stands before the method alone", []Rule{to("m", method("Get")), to("service", prefix("/a.Service"))}, "POST h/a.Service/Get", "service"},
		{"the method alone stands before everything", []Rule{to("all"), to("m", method("Get"))}, "POST h/a.Service/Get", "m"},
		{"everything serves the other methods", []Rule{to("all"), to("m", method("Get"))}, "POST h/a.Service/Put", "all"},
		{"of two methods the one with more headers wins", []Rule{to("plain", method("Get")), to("canary", method("Get").header("Canary", "1"))}, "POST h/a.Service/Get", "plain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w world
			w.listener("http", "", c.rules...)
			if got := outcome(w.compile(t).Decide(ask(t, c.ask))); got != c.want {
				t.Errorf("%s goes to %s, want %s", c.ask, got, c.want)
			}
		})
	}
	for _, name := range []string{"", "a/b"} {
		var w world
		w.listener("http", "", to("m", method(name)))
		if _, err := w.Compile(); err == nil {
			t.Errorf("method %q was compiled", name)
		}
	}
}

func TestAConnectionBelongsToOneListener(t *testing.T) {
	var w world
	for _, l := range []struct{ name, hostname string }{{"bank", "bank.example.com"}, {"wild", "*.example.com"}, {"other", "*.example.org"}} {
		w.Listeners = append(w.Listeners, Listener{
			Gateway: "infra/egress", Name: l.name, Protocol: ProtocolHTTPS, Port: 443, Hostname: l.hostname,
			TLS: &ListenerTLS{Certificates: []string{"infra/" + l.name}}, Rules: []Rule{to(l.name)},
		})
		w.backends(w.Listeners[len(w.Listeners)-1].Rules)
	}
	s := w.compile(t)
	for _, c := range []struct{ name, server, host, want string }{
		{"the host of the server name is served", "bank.example.com", "bank.example.com", "bank"},
		{"another host of the same listener too: one certificate, one posture", "a.example.com", "b.example.com", "wild"},
		{"a host of a stricter listener is misdirected", "a.example.com", "bank.example.com", "misdirected"},
		{"a host of a wider listener too", "bank.example.com", "a.example.com", "misdirected"},
		{"a host of another domain too", "a.example.org", "a.example.com", "misdirected"},
		{"no server name belongs to no named listener", "", "a.example.com", "misdirected"},
		{"a host without listener has none, whatever the connection", "a.example.com", "example.net", "no-listener"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := ask(t, "GET "+c.host+"/")
			q.Protocol, q.Port, q.ServerName = ProtocolHTTPS, 443, c.server
			if got := outcome(s.Decide(q)); got != c.want {
				t.Errorf("%s on a connection for %s: %s, want %s", c.host, c.server, got, c.want)
			}
		})
	}
}

func TestARedirectNeedsNoBackend(t *testing.T) {
	redirect := func(name string, filters ...Filter) Rule {
		r := to(name)
		r.Targets = []Target{{Weight: 1, Redirect: &Redirect{Scheme: "https", StatusCode: 301}, Filters: filters}}
		return r
	}
	var w world
	w.listener("http", "", redirect("r").on("a.example.com"), redirect("guarded", guarding(RequestGuard{AllowMethods: []string{"GET"}})).on("b.example.com"),
		redirect("unknown", Filter{Type: "acme.example.com/X:v1", Phase: PhaseRequestHeaders}).on("c.example.com"))
	w.tunnel(redirect("r").on("x.ns.svc.clusterset.local"))
	w.Backends = append(w.Backends, Backend{Key: "ns/x", Via: ViaEndpoint, GrantRequired: true})
	s := w.compile(t)
	for _, c := range []struct {
		ask  string
		want Reason
	}{
		{"GET a.example.com/", None},
		{"GET b.example.com/", None},
		{"POST b.example.com/", RefusedByGuard},
		{"GET c.example.com/", UnknownFilter},
	} {
		d := s.Decide(ask(t, c.ask))
		if d.Reason != c.want {
			t.Errorf("%s: %q, want %q", c.ask, d.Reason, c.want)
		}
		if d.Reason == None && (d.Target.Redirect == nil || d.Backend != nil) {
			t.Errorf("%s: target %+v, backend %v", c.ask, d.Target, d.Backend)
		}
	}
	q := ask(t, "GET x.ns.svc.clusterset.local/")
	q.Protocol, q.Port = ProtocolTunnel, 8443
	if got := s.Decide(q).Reason; got != NotGranted {
		t.Errorf("a redirect of a catalog entry, without grant: %q, want %q", got, NotGranted)
	}
}

func TestAServiceWithoutEndpointsAnswersForItself(t *testing.T) {
	var w world
	w.Backends = []Backend{
		{Key: "ns/up:80", Via: ViaService, Endpoints: []string{"10.0.0.1:8080"}},
		{Key: "ns/down:80", Via: ViaService},
	}
	for _, name := range []string{"up", "down"} {
		r := to(name)
		r.Targets = []Target{{Weight: 1, Backend: "ns/" + name + ":80"}}
		w.listener("http", "", r.on(name))
	}
	s := w.compile(t)
	for name, want := range map[string]Reason{"up": None, "down": NoEndpoints} {
		if got := s.Decide(ask(t, "GET "+name+"/")).Reason; got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestAMirrorNeedsItsBackend(t *testing.T) {
	for _, c := range []struct {
		backend string
		ok      bool
	}{{"ns/r", true}, {"ns/gone", false}} {
		var w world
		w.listener("http", "", to("r").filtered(Filter{Type: FilterRequestMirror, Phase: PhaseRequestHeaders, Mirror: &Mirror{Backend: c.backend, Numerator: 1, Denominator: 1}}))
		if _, err := w.Compile(); (err == nil) != c.ok {
			t.Errorf("a mirror to %s: %v", c.backend, err)
		}
	}
}

// Beside the benchmark: what a request costs must not depend on chance, and garbage is what makes a tail.
func TestALookupAllocatesNothing(t *testing.T) {
	var w world
	var rules []Rule
	for n := range 10_000 {
		rules = append(rules, to(fmt.Sprintf("r%d", n), prefix(fmt.Sprintf("/team/%d/v1", n)), exact(fmt.Sprintf("/health/%d", n)),
			prefix("/").header("X-Tenant", fmt.Sprint(n))).on(fmt.Sprintf("h%d.example.com", n%100)))
	}
	w.listener("http", "", rules...)
	s := w.compile(t)
	for _, c := range []struct{ name, ask, want string }{
		{"a prefix", "GET h7.example.com/team/7/v1/chat/completions", "r7"},
		{"an exact path", "GET h99.example.com/health/9999", "r9999"},
		{"nothing", "GET h7.example.com/nothing", "no-route"},
	} {
		q := ask(t, c.ask)
		if got := outcome(s.Decide(q)); got != c.want {
			t.Fatalf("%s: %s, want %s", c.name, got, c.want)
		}
		if n := testing.AllocsPerRun(100, func() { s.Decide(q) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}
