package endpoint_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/internal/testkit/origin"
)

// vault is a credential in the place of Authorization.
type vault struct {
	hosts []string

	mu      sync.Mutex
	version int      // 0: no value
	asked   []string // hosts
	hook    func()   // called by Apply before it answers
}

func (v *vault) Version(string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.name()
}

func (v *vault) name() string {
	if v.version == 0 {
		return ""
	}
	return strconv.Itoa(v.version)
}

func (v *vault) Apply(req *http.Request, ref, host string) (string, error) {
	if v.hook != nil {
		v.hook()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, host)
	if !slices.Contains(v.hosts, host) {
		return "", fmt.Errorf("%s at %s: %w", ref, host, endpoint.ErrHost)
	}
	if v.version == 0 {
		return "", fmt.Errorf("%s: %w", ref, endpoint.ErrNoValue)
	}
	delete(req.Trailer, "Authorization")
	req.Header.Set("Authorization", "Bearer secret-"+v.name())
	q := req.URL.Query()
	q.Del("key")
	req.URL.RawQuery = q.Encode()
	return v.name(), nil
}

func (v *vault) rotate() {
	v.mu.Lock()
	v.version++
	v.mu.Unlock()
}

func TestTheCredentialIsWrittenOnACopyForTheVerifiedHost(t *testing.T) { // T-D8
	o := origin.Start(t)
	v := &vault{hosts: []string{o.Name()}, version: 1}
	e := start(t, endpoint.Config{Credentials: v}, o)
	b := backend(o)
	b.Credential = "team/key"
	req := request(t, http.MethodPost, "/a?key=mine&x=1", strings.NewReader("data"))
	req.Header.Set("Authorization", "Bearer workload")
	req.Trailer = http.Header{"Authorization": {"Bearer trailer"}, "X-End": {"bye"}}
	do(t, e, b, req)
	a := o.Arrivals()[0]
	if got := a.Header.Values("Authorization"); !slices.Equal(got, []string{"Bearer secret-1"}) || a.RawQuery != "x=1" {
		t.Errorf("arrived with %q, query %q", got, a.RawQuery)
	}
	if req.Header.Get("Authorization") != "Bearer workload" || req.URL.RawQuery != "key=mine&x=1" || len(req.Trailer) != 2 {
		t.Errorf("the inbound request was changed: %v %s %v", req.Header, req.URL, req.Trailer)
	}
	if !slices.Equal(v.asked, []string{o.Name()}) {
		t.Errorf("asked for %v", v.asked)
	}
}

func TestACredentialTrailerOfTheWorkloadStaysBehind(t *testing.T) { // T-D8
	protocols(t, func(t *testing.T, o *origin.Origin, b *route.Backend) {
		if b.TLS == nil {
			return // cleartext carries no credential: TestWithoutRightNothingIsSent
		}
		v := &vault{hosts: []string{o.Name()}, version: 1}
		e := start(t, endpoint.Config{Credentials: v}, o)
		b.Credential = "team/key"
		req := request(t, http.MethodPost, "/echo", strings.NewReader("data"))
		req.ContentLength = -1
		req.Trailer = http.Header{"Authorization": {"Bearer trailer"}, "X-End": {"bye"}}
		res, _ := do(t, e, b, req)
		if res.Trailer.Get("X-End") != "bye" || res.Trailer.Get("Authorization") != "" {
			t.Errorf("trailers arrived as %v", res.Trailer)
		}
	})
}

func TestWithoutRightNothingIsSent(t *testing.T) { // T-D9
	other := origin.Start(t, origin.Names("other.example.com"))
	o := origin.Start(t)
	for _, tc := range []struct {
		name   string
		creds  *vault // nil: a gateway without credentials
		change func(b *route.Backend)
		cause  endpoint.Cause
	}{
		{"a gateway that holds none", nil, nil, endpoint.CredentialUnavailable},
		{"a credential without value", &vault{hosts: []string{o.Name()}}, nil, endpoint.CredentialUnavailable},
		{"a Backend moved to another host", &vault{hosts: []string{o.Name()}, version: 1}, func(b *route.Backend) {
			b.Hostname, b.Port = other.Name(), other.Port()
			b.TLS = &route.TLS{ServerName: other.Name(), CAs: []string{other.CA.PEM()}}
		}, endpoint.CredentialHost},
		{"a Backend that dials the right host and verifies another", &vault{hosts: []string{o.Name()}, version: 1}, func(b *route.Backend) {
			b.Port = other.Port() // as if DNS were in the hands of the other
			b.TLS = &route.TLS{ServerName: other.Name(), CAs: []string{other.CA.PEM()}}
		}, endpoint.CredentialHost},
		{"a Backend that dials another host with the right name in a certificate of its own CA", &vault{hosts: []string{other.Name()}, version: 1}, func(b *route.Backend) {
			b.Port = other.Port()
			b.TLS = &route.TLS{ServerName: other.Name(), CAs: []string{other.CA.PEM()}}
		}, endpoint.CredentialHost},
		{"a Backend that verifies a SAN the credential is not for", &vault{hosts: []string{o.Name()}, version: 1}, func(b *route.Backend) {
			b.Port = other.Port()
			b.TLS = &route.TLS{ServerName: o.Name(), DNSNames: []string{other.Name()}, CAs: []string{other.CA.PEM()}}
		}, endpoint.CredentialHost},
		{"a Backend without TLS", &vault{hosts: []string{o.Name()}, version: 1}, func(b *route.Backend) { b.TLS = nil }, endpoint.CredentialHost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := endpoint.Config{}
			if tc.creds != nil {
				cfg.Credentials = tc.creds
			}
			e := start(t, cfg, o, other)
			b := backend(o)
			b.Credential = "team/key"
			if tc.change != nil {
				tc.change(b)
			}
			before := o.Total() + other.Total()
			body := &watched{Reader: strings.NewReader("data")}
			req := request(t, http.MethodPost, "/", body)
			req.ContentLength = 4
			got := fails(t, e, b, req)
			if got.Cause != tc.cause || got.Sent || !got.Unprocessed() {
				t.Errorf("cause %s, sent %t; want %s, nothing sent: %v", got.Cause, got.Sent, tc.cause, got)
			}
			if n := o.Total() + other.Total() - before; n != 0 || e.Sent() != 0 || body.touched() {
				t.Errorf("%d arrived, %d sent, body touched %t", n, e.Sent(), body.touched())
			}
			if strings.Contains(got.Error(), "secret") {
				t.Errorf("the error shows the value: %v", got)
			}
		})
	}
}

func TestConnectionsAreNotSharedAcrossVersions(t *testing.T) { // T-D11
	o := origin.Start(t)
	v := &vault{hosts: []string{o.Name()}, version: 1}
	e := start(t, endpoint.Config{Credentials: v}, o)
	b := backend(o)
	b.Credential = "team/key"
	for range 3 {
		do(t, e, b, request(t, http.MethodGet, "/", nil))
	}
	v.rotate()
	for range 3 {
		do(t, e, b, request(t, http.MethodGet, "/", nil))
	}
	byConn := map[int64]map[string]bool{}
	for _, a := range o.Arrivals() {
		if byConn[a.Conn] == nil {
			byConn[a.Conn] = map[string]bool{}
		}
		byConn[a.Conn][a.Header.Get("Authorization")] = true
	}
	if len(byConn) != 2 {
		t.Errorf("%d connections, want one per version", len(byConn))
	}
	for c, seen := range byConn {
		if len(seen) != 1 {
			t.Errorf("connection %d carried %v", c, seen)
		}
	}
}

func TestARotationWhileDialingMovesToAnotherConnection(t *testing.T) {
	o := origin.Start(t)
	v := &vault{hosts: []string{o.Name()}, version: 1}
	var once sync.Once
	v.hook = func() { once.Do(v.rotate) }
	e := start(t, endpoint.Config{Credentials: v}, o)
	b := backend(o)
	b.Credential = "team/key"
	do(t, e, b, request(t, http.MethodPost, "/", strings.NewReader("data")))
	if got := o.Arrivals()[0].Header.Get("Authorization"); got != "Bearer secret-2" || o.Total() != 1 || o.Connections() != 2 {
		t.Errorf("%s in %d requests on %d connections; want version 2, 1, 2", got, o.Total(), o.Connections())
	}

	v.hook = v.rotate // without end
	got := fails(t, e, b, request(t, http.MethodGet, "/", nil))
	if got.Cause != endpoint.CredentialUnavailable || got.Sent || o.Total() != 1 {
		t.Errorf("%v", got)
	}
}

func TestPoolsAreApart(t *testing.T) { // T-D11
	o := origin.Start(t)
	e := start(t, endpoint.Config{Keys: keys{"team/a": o.CA.Issue(t, origin.Leaf{Client: true})}, Hosts: map[string][]netip.Addr{"b.example.com": {o.Addr().Addr()}}}, o)
	changes := []struct {
		name   string
		change func(b *route.Backend)
	}{
		{"the same Backend", func(*route.Backend) {}},
		{"another Backend with equal settings", func(b *route.Backend) { b.Key = "other/origin" }},
		{"another protocol", func(b *route.Backend) { b.Protocol = "HTTP11" }},
		{"another guard", func(b *route.Backend) { b.AllowedCIDRs = []string{"127.0.0.0/8"} }},
		{"another CA bundle", func(b *route.Backend) { b.TLS.CAs = append(b.TLS.CAs, b.TLS.CAs[0]) }},
		{"SANs", func(b *route.Backend) { b.TLS.DNSNames = []string{o.Name()} }},
		{"a client certificate", func(b *route.Backend) { b.TLS.ClientCertificate = "team/a" }},
		{"another version of it", func(b *route.Backend) { b.TLS.ClientCertificate, b.TLS.ClientCertificateHash = "team/a", "2" }},
		{"another name of the same address", func(b *route.Backend) { b.Hostname = "b.example.com" }},
	}
	for i, c := range changes {
		b := backend(o)
		c.change(b)
		for range 2 {
			do(t, e, b, request(t, http.MethodGet, "/", nil))
		}
		if o.Connections() != i+1 {
			t.Fatalf("after %q: %d connections, want %d", c.name, o.Connections(), i+1)
		}
	}
	for i := range changes { // and each is found again
		b := backend(o)
		changes[i].change(b)
		do(t, e, b, request(t, http.MethodGet, "/", nil))
	}
	if o.Connections() != len(changes) {
		t.Errorf("%d connections for %d pools", o.Connections(), len(changes))
	}
}
