package credential

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	secretValue = "sk-canary-secret"
	evil        = "evil-canary"
)

// fixed makes a vault whose values stand still.
func fixed(t testing.TB, value string, specs ...Spec) *Vault {
	t.Helper()
	v := NewVault(nil, nil, nil)
	for _, s := range specs {
		v.values[s.Ref] = newValue("V1", value)
	}
	if err := v.Use(specs); err != nil {
		t.Fatal(err)
	}
	return v
}

func newValue(version, s string) value { return value{version: version, secret: NewSecret([]byte(s))} }

var hosts = []string{"api.example.com"}

// The same Credential in every kind.
func kinds() map[string]Spec {
	return map[string]Spec{
		"Bearer":         {Ref: "ai/key", Kind: Bearer, Hosts: hosts},
		"Basic":          {Ref: "ai/key", Kind: Basic, Hosts: hosts},
		"Header":         {Ref: "ai/key", Kind: Header, Hosts: hosts, Name: "X-Api-Key"},
		"HeaderPrefix":   {Ref: "ai/key", Kind: Header, Hosts: hosts, Name: "authorization", Prefix: "Token "},
		"HeaderOwnName":  {Ref: "ai/key", Kind: Header, Hosts: hosts, Name: "dd_application.key"},
		"HeaderGoogle":   {Ref: "ai/key", Kind: Header, Hosts: hosts, Name: "X-Goog-Api-Key"},
		"QueryParameter": {Ref: "ai/key", Kind: QueryParameter, Hosts: hosts, Name: "key"},
	}
}

func valueFor(kind string) string {
	if kind == "Basic" {
		return "user:" + secretValue
	}
	return secretValue
}

func TestApplyWritesTheValue(t *testing.T) {
	for kind, want := range map[string]struct{ header, value, query string }{
		"Bearer":         {"Authorization", "Bearer " + secretValue, "q=1"},
		"Basic":          {"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secretValue)), "q=1"},
		"Header":         {"X-Api-Key", secretValue, "q=1"},
		"HeaderPrefix":   {"Authorization", "Token " + secretValue, "q=1"},
		"HeaderOwnName":  {"Dd_application.key", secretValue, "q=1"},
		"HeaderGoogle":   {"X-Goog-Api-Key", secretValue, "q=1"},
		"QueryParameter": {"", "", "q=1&key=" + secretValue},
	} {
		t.Run(kind, func(t *testing.T) {
			v := fixed(t, valueFor(kind), kinds()[kind])
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/v1?q=1", nil)
			req.Header.Set("Accept", "*/*")
			before := req.URL
			version, err := v.Apply(req, "ai/key", "API.example.COM")
			if err != nil || version != "V1" || v.Version("ai/key") != "V1" {
				t.Fatalf("Apply = %q, %v", version, err)
			}
			header := http.Header{"Accept": {"*/*"}}
			if want.header != "" {
				header[want.header] = []string{want.value}
			}
			if diff := cmp.Diff(header, req.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
			if req.URL.RawQuery != want.query || before.RawQuery != "q=1" {
				t.Errorf("query %q, and %q in the URL before; want %q and q=1", req.URL.RawQuery, before.RawQuery, want.query)
			}
			first := wire(t, req)
			if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil { // the next attempt
				t.Fatal(err)
			}
			if second := wire(t, req); second != first {
				t.Errorf("applied twice:\n%s\nonce:\n%s", second, first)
			}
		})
	}
}

func TestAQueryValueIsEscaped(t *testing.T) {
	const value = "a&b=c;d e+f%2F#?/ü"
	v := fixed(t, value, Spec{Ref: "ai/key", Kind: QueryParameter, Hosts: hosts, Name: "api key"})
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
	if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil {
		t.Fatal(err)
	}
	if got := req.URL.Query(); len(got) != 1 || got.Get("api key") != value {
		t.Errorf("query %q is read as %q, want %q", req.URL.RawQuery, got, value)
	}
}

func TestAValueGoesToItsHostsOnly(t *testing.T) { // T-D9
	v := fixed(t, secretValue, Spec{Ref: "ai/key", Kind: Bearer, Hosts: []string{"API.example.com", "eu.example.com"}}, Spec{Ref: "ai/nowhere", Kind: Bearer})
	for _, row := range []struct {
		host string
		want error
	}{
		{"api.example.com", nil},
		{"API.EXAMPLE.COM", nil},
		{"eu.example.com", nil},
		{"evil.example", ErrHost},
		{"api.example.com.evil.example", ErrHost},
		{"evil-api.example.com", ErrHost},
		{"x.api.example.com", ErrHost},
		{"example.com", ErrHost},
		{"api.example.com.", ErrHost},
		{"api.example.com:443", ErrHost},
		{"", ErrHost},
		{"*", ErrHost},
		{" api.example.com", ErrHost},
		{"api.example.com\x00", ErrHost},
		{"аpi.example.com", ErrHost},
		{"192.0.2.1", ErrHost},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
		version, err := v.Apply(req, "ai/key", row.host)
		if !errors.Is(err, row.want) {
			t.Errorf("host %q: %v, want %v", row.host, err, row.want)
		}
		if sent := strings.Contains(wire(t, req), secretValue); sent != (row.want == nil) || err != nil && version != "" {
			t.Errorf("host %q: the value was written: %v, version %q", row.host, sent, version)
		}
	}
	for ref, want := range map[string]error{"ai/nowhere": ErrHost, "ai/other": ErrNoValue, "": ErrNoValue} {
		if _, err := v.Apply(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/", nil), ref, "api.example.com"); !errors.Is(err, want) {
			t.Errorf("Credential %q: %v, want %v", ref, err, want)
		}
	}
}

// tricks are what a workload may try so that the provider takes its own credential, or none, for the hub's. T-D8
var tricks = map[string]func(r *http.Request){
	"authorization":                           sends("Authorization", "Bearer "+evil),
	"authorization in lower case":             sends("authorization", "Bearer "+evil),
	"authorization in odd case":               sends("aUTHORIZATION", "Bearer "+evil),
	"authorization of another scheme":         sends("Authorization", "Basic "+evil),
	"authorization twice":                     sends("Authorization", "Bearer "+evil, "Bearer "+evil+"2"),
	"authorization in two cases":              both(sends("Authorization", evil), sends("AUTHORIZATION", evil)),
	"a proxy's authorization":                 sends("Proxy-Authorization", "Bearer "+evil),
	"a proxy's authorization with underscore": sends("proxy_authorization", evil),
	"an alias of authorization":               sends("X-Authorization", evil),
	"api key":                                 sends("X-Api-Key", evil),
	"api key in lower case":                   sends("x-api-key", evil),
	"api key in upper case":                   sends("X-API-KEY", evil),
	"api key with underscores":                sends("X_Api_Key", evil),
	"api key with one underscore":             sends("X-Api_Key", evil),
	"api key with dots":                       sends("x.api.key", evil),
	"api key without x":                       sends("Api-Key", evil),
	"api key without x, underscored":          sends("api_key", evil),
	"api key in one word":                     sends("ApiKey", evil),
	"api key in one word with x":              sends("X-ApiKey", evil),
	"api key of Google":                       sends("X-Goog-Api-Key", evil),
	"api key of Google with underscores":      sends("x_goog_api_key", evil),
	"api key many times":                      sends("X-Api-Key", evil, "", evil, evil),
	"api key, empty":                          sends("X-Api-Key", ""),
	"a name with a blank behind":              sends("X-Api-Key ", evil),
	"a name with a blank before":              sends(" Authorization", evil),
	"a name with the Kelvin sign":             sends("X-Api-\u212aey", evil),
	"nominated by connection":                 both(sends("Connection", "X-Api-Key, Authorization"), sends("X-Api-Key", evil)),
	"nominated in a list":                     sends("Connection", "close, x-api-key"),
	"nominated in a second line":              sends("Connection", "keep-alive", "AUTHORIZATION"),
	"nominated with an underscore":            sends("connection", "x_api_key"),
	"nominated for a proxy":                   sends("Proxy-Connection", "authorization"),
	"as a trailer":                            trailer("X-Api-Key"),
	"as a trailer in lower case":              trailer("authorization"),
	"as a trailer with underscores":           trailer("X_API_KEY"),
	"announced as a trailer":                  sends("Trailer", "X-Api-Key, X-Sum"),
	"as user information":                     func(r *http.Request) { r.URL.User = url.UserPassword("user", evil) },
	"as a user alone":                         func(r *http.Request) { r.URL.User = url.User(evil) },
	"in the query":                            query("access_token=" + evil),
	"in the query, with api_key":              query("api_key=" + evil),
	"in the query, with API-KEY":              query("API-KEY=" + evil),
	"in the query, with apikey":               query("a=1&apikey=" + evil),
	"in the query, twice":                     query("api_key=" + evil + "&b=2&api_key=" + evil),
	"in the query, escaped":                   query("%61pi%5Fkey=" + evil),
	"in the query, with a plus":               query("+api_key=" + evil),
	"in the query, with a blank":              query("api+key=" + evil),
	"in the query, as a list":                 query("api_key[]=" + evil),
	"in the query, as an escaped list":        query("api_key%5B0%5D=" + evil),
	"in the query, with a zero byte":          query("api_key%00x=" + evil),
	"in the query, behind a semicolon":        query("a=1;api_key=" + evil),
	"in the query, before a semicolon":        query("api_key=" + evil + ";a=1"),
	"in the query, with a dot":                query("api.key=" + evil),
	"in the query, with the long s":           query("acce%C5%BFs_token=" + evil),
	"in the query, with the Kelvin sign":      query("api_%E2%84%AAey=" + evil),
	"in the query, with an odd escape beside": query("%zz=1&access_token=" + evil),
	"in the query, without a value":           query("api_key"),
	"as a sub-protocol":                       sends("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key."+evil+", openai-beta.realtime-v1"),
	"as a sub-protocol of Kubernetes":         sends("Sec-Websocket-Protocol", "base64url.bearer.authorization.k8s.io."+evil),
}

func sends(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[name] = values }
}

func trailer(name string) func(*http.Request) {
	return func(r *http.Request) {
		r.Trailer = http.Header{name: {evil}, "X-Sum": {"1"}}
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("body")), -1
	}
}

func query(q string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = q } }

func both(a, b func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) { a(r); b(r) }
}

func TestNoTrickOverridesACredential(t *testing.T) {
	if len(tricks) < 50 {
		t.Fatalf("%d tricks", len(tricks))
	}
	for kind, spec := range kinds() {
		v := fixed(t, valueFor(kind), spec)
		plain := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1", nil)
		if _, err := v.Apply(plain, "ai/key", "api.example.com"); err != nil {
			t.Fatal(err)
		}
		for trick, play := range tricks {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1", nil)
			play(req)
			if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil {
				t.Errorf("%s, %s: %v", kind, trick, err)
				continue
			}
			check(t, kind+", "+trick, req, plain)
		}
	}
}

// The tricks that lie in the Credential's own name.
func TestNoTrickWithItsOwnNameOverridesACredential(t *testing.T) {
	for kind, own := range map[string][]func(*http.Request){
		"HeaderOwnName": {
			sends("Dd_application.key", evil), sends("DD-APPLICATION-KEY", evil), sends("dd_application_key", evil), sends("Dd.Application.Key", evil, evil),
			sends("Connection", "Dd-Application-Key"), trailer("dd-application-key"),
		},
		"HeaderGoogle": {query("key=" + evil), query("KEY=" + evil), query("a=1;key=" + evil)},
		"QueryParameter": {
			query("key=" + evil), query("Key=" + evil + "&q=1"), query("k%65y=" + evil), query("key[]=" + evil), query("key"), query("q=1;key=" + evil + "&r=2"),
			query("KEY%00=" + evil), query("+key=" + evil), query("&&key=" + evil + "&&"), sends("x-goog-api-key", evil),
		},
	} {
		v := fixed(t, secretValue, kinds()[kind])
		plain := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1", nil)
		if _, err := v.Apply(plain, "ai/key", "api.example.com"); err != nil {
			t.Fatal(err)
		}
		for i, play := range own {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/v1", nil)
			play(req)
			if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil {
				t.Fatal(err)
			}
			check(t, kind+", trick "+string(rune('0'+i)), req, plain)
		}
	}
}

// check that what goes over the wire has nothing of the workload's in a credential's place and the hub's credential once,
// where plain has it.
func check(t *testing.T, what string, req, plain *http.Request) {
	t.Helper()
	sent := wire(t, req)
	if strings.Contains(sent, evil) || req.URL.User != nil { // http.Client makes a header of the user
		t.Errorf("%s: sent\n%s", what, sent)
	}
	for name := range plain.Header {
		if !slices.Equal(req.Header[name], plain.Header[name]) {
			t.Errorf("%s: %s is %q, want %q", what, name, req.Header[name], plain.Header[name])
		}
	}
	if want := plain.URL.RawQuery; want != "" && !slices.Contains(strings.Split(req.URL.RawQuery, "&"), want) {
		t.Errorf("%s: query %q, want %q in it", what, req.URL.RawQuery, want)
	}
	places := 0
	for name := range req.Header {
		if n := normal(name); strings.Contains(n, "key") || strings.Contains(n, "auth") {
			places++
		}
		if n := normal(name); n == "connection" || n == "proxy-connection" || n == "trailer" {
			for _, v := range req.Header[name] {
				if l := normal(v); strings.Contains(l, "key") || strings.Contains(l, "auth") {
					t.Errorf("%s: %s still nominates %s", what, name, v)
				}
			}
		}
	}
	if want := len(plain.Header); places != want {
		t.Errorf("%s: %d headers of credentials, want %d: %v", what, places, want, req.Header)
	}
	if strings.Count(sent, secretValue)+strings.Count(sent, base64.StdEncoding.EncodeToString([]byte("user:"+secretValue))) != 1 {
		t.Errorf("%s: not once in\n%s", what, sent)
	}
}

func TestWhatIsNotACredentialIsLeftAlone(t *testing.T) {
	v := fixed(t, secretValue, kinds()["Header"])
	for _, raw := range []string{"", "q=1", "q=%zz&r=a+b&&s", "a=1;b=2", "x[]=1&x[]=2", "q=a%20b&Q=%C3%BC", "=", "&", "key=public"} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/a%2Fb", nil)
		req.URL.RawQuery = raw
		req.Header["Connection"] = []string{"Upgrade,  close"}
		req.Header["Sec-Websocket-Protocol"] = []string{"chat,  v2"}
		req.Header["X-Api-Version"] = []string{"1", "2"}
		req.Trailer = http.Header{"X-Sum": nil}
		want := req.Header.Clone()
		want["X-Api-Key"] = []string{secretValue}
		if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, req.Header); diff != "" || req.URL.RawQuery != raw || req.URL.RawPath != "/a%2Fb" || len(req.Trailer) != 1 {
			t.Errorf("query %q became %q, path %q, trailers %v, header (-want +got):\n%s", raw, req.URL.RawQuery, req.URL.RawPath, req.Trailer, diff)
		}
	}
}

func TestQueriesAreScrubbedInPlace(t *testing.T) {
	p := Spec{Kind: QueryParameter, Name: "key"}.places()
	for in, want := range map[string]string{
		"key=x":               "",
		"a=1&key=x":           "a=1",
		"key=x&a=1":           "a=1",
		"a=1&key=x&b=2":       "a=1&b=2",
		"a=1;key=x&b=2":       "a=1&b=2",
		"a=1&key=x;b=2":       "a=1&b=2",
		"a=1;key=x;b=2":       "a=1;b=2",
		"a=1&key=x&key=y&b=2": "a=1&b=2",
		"key=x;key=y":         "",
		"a=%26key%3Dx":        "a=%26key%3Dx",
		"keys=1&monkey=2":     "keys=1&monkey=2",
	} {
		if got := p.scrubQuery(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestSpecsThatCannotBeServedAreNamed(t *testing.T) {
	v := NewVault(nil, nil, nil)
	for _, row := range []struct {
		name string
		spec Spec
		want string
	}{
		{"of no kind", Spec{Ref: "ai/key"}, "no kind"},
		{"of a kind to come", Spec{Ref: "ai/key", Kind: "SigV4"}, "SigV4"},
		{"without a header", Spec{Ref: "ai/key", Kind: Header}, "header"},
		{"with a header that is none", Spec{Ref: "ai/key", Kind: Header, Name: "X Api"}, "X Api"},
		{"in the host", Spec{Ref: "ai/key", Kind: Header, Name: "host"}, "host"},
		{"in the connection", Spec{Ref: "ai/key", Kind: Header, Name: "Connection"}, "Connection"},
		{"in the length", Spec{Ref: "ai/key", Kind: Header, Name: "content_length"}, "content_length"},
		{"in a header of ours", Spec{Ref: "ai/key", Kind: Header, Name: "penstock-path"}, "penstock-path"},
		{"with a prefix over two lines", Spec{Ref: "ai/key", Kind: Header, Name: "X-Key", Prefix: "a\r\nb"}, "prefix"},
		{"without a parameter", Spec{Ref: "ai/key", Kind: QueryParameter}, "parameter"},
	} {
		good := Spec{Ref: "ai/good", Kind: Bearer, Hosts: hosts}
		err := v.Use([]Spec{row.spec, good})
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "ai/key") {
			t.Errorf("%s: %v, want an error with %q and ai/key", row.name, err, row.want)
		}
		if _, err := v.Apply(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/", nil), "ai/key", "api.example.com"); !errors.Is(err, ErrNoValue) {
			t.Errorf("%s: Apply = %v, want ErrNoValue", row.name, err)
		}
		if v.Fault("ai/good") == nil || strings.Contains(v.Fault("ai/good").Error(), "there is no Credential") {
			t.Errorf("%s: the other one is not served: %v", row.name, v.Fault("ai/good"))
		}
	}
}

// wire is the request as HTTP/1.1 sends it.
func wire(t testing.TB, req *http.Request) string {
	t.Helper()
	clone := req.Clone(t.Context())
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		req.Body, clone.Body = io.NopCloser(bytes.NewReader(body)), io.NopCloser(bytes.NewReader(body))
	}
	for name := range clone.Header { // net/http refuses such a name; what is left of it must show
		if strings.Contains(name, " ") {
			clone.Header["X-Bad-Name"] = append(clone.Header["X-Bad-Name"], clone.Header[name]...)
		}
	}
	var b strings.Builder
	if err := clone.Write(&b); err != nil {
		t.Fatalf("write: %v", err)
	}
	return b.String()
}

// Whatever a request carries, it leaves with the credential in its place, once, and nothing beside.
func FuzzApply(f *testing.F) {
	f.Add("Authorization", evil, "access_token="+evil, "Connection", "close, authorization")
	f.Add("x_api_key", evil, "a=1;api_key="+evil+"&%61pi-key[]="+evil, "sec-websocket-protocol", "openai-insecure-api-key.x")
	f.Add("\x00", "", "%", "Trailer", ",,")
	vaults := map[string]*Vault{}
	for kind, spec := range kinds() {
		vaults[kind] = fixed(f, valueFor(kind), spec)
	}
	f.Fuzz(func(t *testing.T, name1, value1, rawQuery, name2, value2 string) {
		if got, want := string(appendNormal([]byte("x"), name1)), "x"+normal(name1); got != want {
			t.Fatalf("two normal forms of %q: %q and %q", name1, got, want)
		}
		for kind, v := range vaults {
			spec := kinds()[kind]
			req := &http.Request{
				Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: "api.example.com", Path: "/", RawQuery: rawQuery},
				Header: http.Header{name1: {value1}, name2: {value2, value1}}, Trailer: http.Header{name1: {value1}},
			}
			if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil {
				t.Fatal(err)
			}
			p := spec.places()
			written := 0
			for name, values := range req.Header {
				if !p.headers[normal(name)] {
					continue
				}
				if written++; len(values) != 1 || !strings.Contains(values[0], secretValue) && kind != "Basic" {
					t.Errorf("%s: %q: %q", kind, name, values)
				}
			}
			for name := range req.Trailer {
				if p.headers[normal(name)] {
					t.Errorf("%s: trailer %q", kind, name)
				}
			}
			for part := range strings.FieldsFuncSeq(req.URL.RawQuery, func(r rune) bool { return r == '&' || r == ';' }) {
				if !p.parameters[parameterName(part)] {
					continue
				}
				if written++; part != spec.Name+"="+secretValue {
					t.Errorf("%s: parameter %q", kind, part)
				}
			}
			if written != 1 {
				t.Errorf("%s: %d credentials in %v %q", kind, written, req.Header, req.URL.RawQuery)
			}
			again := req.URL.RawQuery
			if _, err := v.Apply(req, "ai/key", "api.example.com"); err != nil || req.URL.RawQuery != again {
				t.Errorf("%s: applied again, the query %q is %q (%v)", kind, again, req.URL.RawQuery, err)
			}
		}
	})
}
