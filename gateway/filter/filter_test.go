package filter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/gateway/route"
)

func headers(name string, m route.HeaderModifier) route.Filter {
	return route.Filter{Name: name, Type: route.FilterHeaderModifier, Phase: route.PhaseRequestHeaders, Headers: &m}
}

func rewriting(w route.URLRewrite) route.Filter {
	return route.Filter{Name: "rewrite", Type: route.FilterURLRewrite, Phase: route.PhaseRequestHeaders, Rewrite: &w}
}

func request(t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestHeaderModifier(t *testing.T) {
	h := func(kv ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			out.Add(kv[i], kv[i+1])
		}
		return out
	}
	for _, c := range []struct {
		name    string
		m       route.HeaderModifier
		in, out http.Header
	}{
		{"set replaces all values", route.HeaderModifier{Set: []route.Header{{Name: "x-a", Value: "3"}}}, h("X-A", "1", "X-A", "2"), h("X-A", "3")},
		{"add keeps the others", route.HeaderModifier{Add: []route.Header{{Name: "x-a", Value: "2"}}}, h("X-A", "1"), h("X-A", "1", "X-A", "2")},
		{"remove is not about case", route.HeaderModifier{Remove: []string{"x-A"}}, h("X-A", "1", "X-B", "2"), h("X-B", "2")},
		{"set comes before add", route.HeaderModifier{Add: []route.Header{{Name: "A", Value: "2"}}, Set: []route.Header{{Name: "A", Value: "1"}}}, h(), h("A", "1", "A", "2")},
		{"remove comes last", route.HeaderModifier{Set: []route.Header{{Name: "A", Value: "1"}}, Remove: []string{"A"}}, h(), h()},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(t, "http://h/")
			r.Header = c.in
			if err := (Chain{Filters: []route.Filter{headers("m", c.m)}}).Request(route.PhaseRequestHeaders, r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.out, r.Header); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// T-A7: no configurable rule can add, change or delete a reserved name, nor one that frames the message.
func TestNoFilterTouchesReservedNames(t *testing.T) {
	names := []string{
		"Penstock-Path", "penstock-path", "PENSTOCK-BUDGET", "Penstock-Request-Id", "Penstock-Subject", "Penstock-Attempts",
		"Penstock-Not-Processed", "Penstock-Anything", "Penstock_Path", "penstock_budget", "CDN-Loop", "cdn-loop", "Cdn_Loop",
		"Connection", "content-length", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Connection",
		"TE", "Trailer", "Transfer-Encoding", "transfer-Encoding", "Upgrade", "HTTP2-Settings",
		"", "A B", "A:", "A\r\nPenstock-Path", "A\x00", "Ä",
	}
	ways := map[string]func(string) route.HeaderModifier{
		"set": func(n string) route.HeaderModifier {
			return route.HeaderModifier{Set: []route.Header{{Name: n, Value: "x"}}}
		},
		"add": func(n string) route.HeaderModifier {
			return route.HeaderModifier{Add: []route.Header{{Name: n, Value: "x"}}}
		},
		"remove": func(n string) route.HeaderModifier { return route.HeaderModifier{Remove: []string{n}} },
	}
	before := http.Header{"Penstock-Path": {"p"}, "Cdn-Loop": {"c"}, "Connection": {"k"}, "Content-Length": {"1"}, "Te": {"trailers"}, "Host": {"h"}}
	for _, name := range names {
		for way, modifier := range ways {
			for _, phase := range []route.Phase{route.PhaseRequestHeaders, route.PhaseBackendRequest, route.PhaseBackendResponse, route.PhaseResponseHeaders} {
				for _, open := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %q in %s, failOpen %v", way, name, phase, open), func(t *testing.T) {
						m := modifier(name)
						m.Set = append(m.Set, route.Header{Name: "X-Harmless", Value: "1"}) // a failed filter changes nothing at all
						f := headers("m", m)
						f.Phase, f.FailOpen = phase, open
						skipped := 0
						c := Chain{Filters: []route.Filter{f}, Skipped: func(*route.Filter, error) { skipped++ }}
						r := request(t, "http://h/")
						r.Header = before.Clone()
						response := before.Clone()
						var err error
						if phase == route.PhaseRequestHeaders || phase == route.PhaseBackendRequest {
							err = c.Request(phase, r)
						} else {
							err = c.Response(phase, response)
						}
						var failed *Error
						if open && (err != nil || skipped != 1) || !open && (!errors.As(err, &failed) || skipped != 0) {
							t.Errorf("error %v, %d passed over", err, skipped)
						}
						if diff := cmp.Diff(before, r.Header); diff != "" {
							t.Errorf("request changed: %s", diff)
						}
						if diff := cmp.Diff(before, response); diff != "" {
							t.Errorf("response changed: %s", diff)
						}
					})
				}
			}
		}
	}
}

func TestHeaderValues(t *testing.T) {
	for name, value := range map[string]string{"carriage return": "a\rb", "line feed": "a\nb", "null": "a\x00b", "delete": "a\x7fb"} {
		t.Run("a value with "+name+" is refused", func(t *testing.T) {
			r := request(t, "http://h/")
			err := Chain{Filters: []route.Filter{headers("m", route.HeaderModifier{Set: []route.Header{{Name: "A", Value: value}}})}}.Request(route.PhaseRequestHeaders, r)
			if err == nil || len(r.Header) != 0 {
				t.Errorf("error %v, header %v", err, r.Header)
			}
			if err != nil && strings.Contains(err.Error(), value) {
				t.Error("the error repeats the value")
			}
		})
	}
}

func TestURLRewrite(t *testing.T) {
	path := func(s string) *string { return &s }
	prefix := func(p string) *route.Match { return &route.Match{PathType: route.PathPrefix, Path: p} }
	for _, c := range []struct {
		name  string
		in    string
		match *route.Match
		w     route.URLRewrite
		want  string // host and request target; "error" if refused
	}{
		// The table of HTTPPathModifier in Gateway API.
		{"a prefix is replaced", "/foo/bar", prefix("/foo"), route.URLRewrite{PrefixPath: path("/xyz")}, "h/xyz/bar"},
		{"a slash behind the replacement is not doubled", "/foo/bar", prefix("/foo"), route.URLRewrite{PrefixPath: path("/xyz/")}, "h/xyz/bar"},
		{"a slash behind the prefix makes no difference", "/foo/bar", prefix("/foo/"), route.URLRewrite{PrefixPath: path("/xyz")}, "h/xyz/bar"},
		{"nor does one behind both", "/foo/bar", prefix("/foo/"), route.URLRewrite{PrefixPath: path("/xyz/")}, "h/xyz/bar"},
		{"the prefix alone becomes the replacement", "/foo", prefix("/foo"), route.URLRewrite{PrefixPath: path("/xyz")}, "h/xyz"},
		{"a slash at the end of the path stays", "/foo/", prefix("/foo"), route.URLRewrite{PrefixPath: path("/xyz")}, "h/xyz/"},
		{"nothing takes the prefix away", "/foo/bar", prefix("/foo"), route.URLRewrite{PrefixPath: path("")}, "h/bar"},
		{"nothing leaves the root of a prefix with a slash", "/foo/", prefix("/foo"), route.URLRewrite{PrefixPath: path("")}, "h/"},
		{"nothing leaves the root of a prefix", "/foo", prefix("/foo"), route.URLRewrite{PrefixPath: path("")}, "h/"},
		{"the root leaves the root", "/foo/", prefix("/foo"), route.URLRewrite{PrefixPath: path("/")}, "h/"},
		{"the root leaves the root of a prefix", "/foo", prefix("/foo"), route.URLRewrite{PrefixPath: path("/")}, "h/"},

		{"a rule without match has the prefix of everything", "/a", nil, route.URLRewrite{PrefixPath: path("/v1")}, "h/v1/a"},
		{"the full path is replaced", "/foo/bar", prefix("/"), route.URLRewrite{FullPath: path("/new")}, "h/new"},
		{"the query stays", "/foo?a=1&b=%2F", prefix("/foo"), route.URLRewrite{PrefixPath: path("/x")}, "h/x?a=1&b=%2F"},
		{"an empty query stays", "/foo?", prefix("/foo"), route.URLRewrite{FullPath: path("/x")}, "h/x?"},
		{"escapes in the rest stay", "/foo/a%2Fb", prefix("/foo"), route.URLRewrite{PrefixPath: path("/x")}, "h/x/a%2Fb"},
		{"a prefix is found behind an encoded letter", "/%66oo/b", prefix("/foo"), route.URLRewrite{PrefixPath: path("/x")}, "h/x/b"},
		{"what needs an escape gets one", "/foo", prefix("/foo"), route.URLRewrite{FullPath: path("/a b")}, "h/a%20b"},
		{"an escape is not escaped again", "/foo", prefix("/foo"), route.URLRewrite{FullPath: path("/a%2Fb")}, "h/a%2Fb"},
		{"the host is replaced", "/foo", prefix("/foo"), route.URLRewrite{Hostname: "api.example.com"}, "api.example.com/foo"},
		{"host and path are replaced", "/foo", prefix("/foo"), route.URLRewrite{Hostname: "api.example.com", PrefixPath: path("/v1")}, "api.example.com/v1"},
		{"a host with a line break is refused", "/foo", prefix("/foo"), route.URLRewrite{Hostname: "a\r\nb", FullPath: path("/x")}, "error"},
		{"a path with dot segments is refused", "/foo", prefix("/foo"), route.URLRewrite{Hostname: "other", FullPath: path("/../x")}, "error"},
		{"a path without slash is refused", "/foo", prefix("/foo"), route.URLRewrite{FullPath: path("x")}, "error"},
		{"a prefix of an exact match is refused", "/foo", &route.Match{PathType: route.PathExact, Path: "/foo"}, route.URLRewrite{PrefixPath: path("/x")}, "error"},
		{"a prefix that the path is not below is refused", "/foobar", prefix("/foo"), route.URLRewrite{PrefixPath: path("/x")}, "error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request(t, "http://h"+c.in)
			err := Chain{Filters: []route.Filter{rewriting(c.w)}, Match: c.match}.Request(route.PhaseRequestHeaders, r)
			got := r.Host + r.URL.RequestURI()
			if c.want == "error" {
				if err == nil || got != "h"+c.in {
					t.Errorf("error %v, request %q; want an error and no change", err, got)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestChain(t *testing.T) {
	set := func(value string) route.Filter {
		return headers(value, route.HeaderModifier{Set: []route.Header{{Name: "A", Value: value}}})
	}
	broken := headers("broken", route.HeaderModifier{Remove: []string{"Host"}})
	broken.From = "EgressPolicy billing/p"
	t.Run("filters run in order", func(t *testing.T) {
		r := request(t, "http://h/")
		if err := (Chain{Filters: []route.Filter{set("1"), set("2")}}).Request(route.PhaseRequestHeaders, r); err != nil || r.Header.Get("A") != "2" {
			t.Errorf("A is %q, error %v", r.Header.Get("A"), err)
		}
	})
	t.Run("filters of other phases do not run", func(t *testing.T) {
		r := request(t, "http://h/")
		if err := (Chain{Filters: []route.Filter{set("1")}}).Request(route.PhaseBackendRequest, r); err != nil || r.Header.Get("A") != "" {
			t.Errorf("A is %q, error %v", r.Header.Get("A"), err)
		}
	})
	t.Run("one that fails ends the chain and names itself", func(t *testing.T) {
		r := request(t, "http://h/")
		err := Chain{Filters: []route.Filter{broken, set("1")}}.Request(route.PhaseRequestHeaders, r)
		if err == nil || r.Header.Get("A") != "" {
			t.Fatalf("error %v, A %q", err, r.Header.Get("A"))
		}
		for _, part := range []string{"broken", "EgressPolicy billing/p", "Host"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not say %s", err, part)
			}
		}
	})
	t.Run("one that may fail open is passed over, and the rest runs", func(t *testing.T) {
		open := broken
		open.FailOpen = true
		var names []string
		r := request(t, "http://h/")
		err := Chain{Filters: []route.Filter{open, set("1")}, Skipped: func(f *route.Filter, _ error) { names = append(names, f.Name) }}.Request(route.PhaseRequestHeaders, r)
		if err != nil || r.Header.Get("A") != "1" || !cmp.Equal(names, []string{"broken"}) {
			t.Errorf("error %v, A %q, passed over %v", err, r.Header.Get("A"), names)
		}
	})
	t.Run("an unknown type is told apart", func(t *testing.T) {
		err := Chain{Filters: []route.Filter{{Type: "acme.example.com/PII:v1", Phase: route.PhaseResponseHeaders}}}.Response(route.PhaseResponseHeaders, http.Header{})
		if !errors.Is(err, ErrUnknownType) {
			t.Errorf("error %v, want ErrUnknownType", err)
		}
	})
	t.Run("a rewrite in a response phase fails", func(t *testing.T) {
		f := rewriting(route.URLRewrite{Hostname: "h"})
		f.Phase = route.PhaseResponseHeaders
		if err := (Chain{Filters: []route.Filter{f}}).Response(route.PhaseResponseHeaders, http.Header{}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("guards and credentials are dealt with elsewhere", func(t *testing.T) {
		r := request(t, "http://h/")
		fs := []route.Filter{
			{Type: route.FilterRequestGuard, Phase: route.PhaseRequestHeaders, Guard: &route.RequestGuard{AllowMethods: []string{"POST"}}},
			{Type: route.FilterCredentialInjector, Phase: route.PhaseRequestHeaders},
		}
		if err := (Chain{Filters: fs}).Request(route.PhaseRequestHeaders, r); err != nil {
			t.Error(err)
		}
	})
}

// FuzzModify: whatever names and values a modifier holds, it fails without a change, or it leaves reserved and framing
// names as they were and writes nothing that cannot stand in a header block.
func FuzzModify(f *testing.F) {
	for _, name := range []string{"X-A", "penstock-path", "Penstock_Path", "cdn-loop", "connection", "A\r\nB", "host", "X:"} {
		f.Add(name, "v", "X-B")
	}
	f.Fuzz(func(t *testing.T, name, value, remove string) {
		before := http.Header{"Penstock-Path": {"p"}, "Cdn-Loop": {"c"}, "Connection": {"k"}, "Content-Length": {"1"}}
		h := before.Clone()
		err := modify(h, &route.HeaderModifier{Set: []route.Header{{Name: name, Value: value}}, Add: []route.Header{{Name: name, Value: value}}, Remove: []string{remove}})
		if err != nil {
			if diff := cmp.Diff(before, h); diff != "" {
				t.Fatalf("failed and changed: %s", diff)
			}
			return
		}
		for k := range before {
			if !cmp.Equal(before[k], h[k]) {
				t.Fatalf("%q changed %s to %q", name, k, h[k])
			}
		}
		for k, vs := range h {
			if strings.ContainsAny(k, "\r\n\x00: ") || strings.ContainsAny(strings.Join(vs, ""), "\r\n\x00") {
				t.Fatalf("wrote %q: %q", k, vs)
			}
		}
	})
}

// FuzzRewrite: a rewrite fails without a change, or leaves a target that starts with a slash and parses to itself.
func FuzzRewrite(f *testing.F) {
	f.Add("/foo/bar", "/foo", "/xyz", "")
	f.Add("/foo/%2Fb", "/foo/", "", "h.example.com")
	f.Add("/a", "/", "/%zz", "a b")
	f.Fuzz(func(t *testing.T, in, prefix, with, host string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if setPath(r.URL, in) != nil {
			return
		}
		before := r.URL.RequestURI()
		err = rewrite(r, &route.URLRewrite{Hostname: host, PrefixPath: &with}, &route.Match{PathType: route.PathPrefix, Path: prefix})
		after := r.URL.RequestURI()
		if err != nil && (after != before || r.Host != "h") {
			t.Fatalf("failed with %v and changed %q to %q", err, before, after)
		}
		if !strings.HasPrefix(after, "/") || strings.ContainsAny(after, "\r\n\x00 ") {
			t.Fatalf("%q became %q", before, after)
		}
		if _, err := route.CleanPath(r.URL.EscapedPath()); err != nil {
			t.Fatalf("%q became %q: %v", before, after, err)
		}
	})
}
