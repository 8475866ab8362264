package spoke

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/gateway/hop"
)

// known are the callers of the tests: two by token, three by address, of which the ranges lie in each other.
var known = []configv1alpha1.Caller{
	{Namespace: "team-a", ServiceAccount: "bot", TokenSHA256: tokenHash("token-a")},
	{Namespace: "team-b", ServiceAccount: "bot", TokenSHA256: tokenHash("token-b")},
	{Namespace: "wide", ServiceAccount: "any", CIDRs: []string{"10.0.0.0/8", "2001:db8::/32"}},
	{Namespace: "narrow", ServiceAccount: "one", CIDRs: []string{"10.1.2.3/32"}},
	{Namespace: "middle", ServiceAccount: "some", CIDRs: []string{"10.1.255.255/16"}}, // host bits are no part of a range
}

func TestIdentify(t *testing.T) {
	c, err := newCallers(known)
	if err != nil {
		t.Fatal(err)
	}
	var (
		nobody = hop.Subject{}
		a      = hop.Subject{Namespace: "team-a", ServiceAccount: "bot", Proof: hop.ProofToken}
		b      = hop.Subject{Namespace: "team-b", ServiceAccount: "bot", Proof: hop.ProofToken}
		wide   = hop.Subject{Namespace: "wide", ServiceAccount: "any", Proof: hop.ProofIP}
		narrow = hop.Subject{Namespace: "narrow", ServiceAccount: "one", Proof: hop.ProofIP}
		middle = hop.Subject{Namespace: "middle", ServiceAccount: "some", Proof: hop.ProofIP}
	)
	for _, row := range []struct {
		name   string
		from   string
		header http.Header
		want   hop.Subject
		left   http.Header // what travels on
	}{
		{"a token in Proxy-Authorization", "192.0.2.1:1", http.Header{"Proxy-Authorization": {"Bearer token-a"}}, a, http.Header{}},
		{"a token where the key will be written", "192.0.2.1:1", http.Header{"Authorization": {"Bearer token-a"}}, a, http.Header{}},
		{"a token as X-Api-Key", "192.0.2.1:1", http.Header{"X-Api-Key": {"token-b"}}, b, http.Header{}},
		{"a token as Api-Key", "192.0.2.1:1", http.Header{"Api-Key": {"token-b"}}, b, http.Header{}},
		{"a bare token in Authorization", "192.0.2.1:1", http.Header{"Authorization": {"token-a"}}, a, http.Header{}},
		{"a scheme in capitals and more blanks", "192.0.2.1:1", http.Header{"Authorization": {"BEARER  token-a "}}, a, http.Header{}},
		{"another scheme is no token", "192.0.2.1:1", http.Header{"Authorization": {"Basic token-a"}}, nobody, http.Header{"Authorization": {"Basic token-a"}}},
		{"the start of a token is none", "192.0.2.1:1", http.Header{"Authorization": {"Bearer token-"}}, nobody, http.Header{"Authorization": {"Bearer token-"}}},
		{"an unknown token stays the workload's own", "192.0.2.1:1", http.Header{"Authorization": {"Bearer sk-own"}}, nobody, http.Header{"Authorization": {"Bearer sk-own"}}},
		{"Proxy-Authorization is ours to consume, known or not", "192.0.2.1:1", http.Header{"Proxy-Authorization": {"Basic x"}, "Accept": {"a"}}, nobody, http.Header{"Accept": {"a"}}},
		{"a token beside an own key leaves the key", "192.0.2.1:1", http.Header{"Proxy-Authorization": {"Bearer token-a"}, "Authorization": {"Bearer sk-own"}}, a, http.Header{"Authorization": {"Bearer sk-own"}}},
		{"with two tokens Proxy-Authorization decides", "192.0.2.1:1", http.Header{"Proxy-Authorization": {"Bearer token-b"}, "Authorization": {"Bearer sk-own"}}, b, http.Header{"Authorization": {"Bearer sk-own"}}},
		{"a token among several values takes them all", "192.0.2.1:1", http.Header{"Authorization": {"Bearer x", "Bearer token-a"}}, a, http.Header{}},
		{"a token proves more than an address", "10.1.2.3:1", http.Header{"Authorization": {"Bearer token-a"}}, a, http.Header{}},
		{"an address alone", "10.9.9.9:1", nil, wide, nil},
		{"the longest range wins", "10.1.2.3:1", nil, narrow, nil},
		{"the range in between", "10.1.2.4:1", nil, middle, nil},
		{"an IPv4 address in IPv6 form", "[::ffff:10.1.2.3]:1", nil, narrow, nil},
		{"an IPv6 address with a zone", "[2001:db8::1%eth0]:1", nil, wide, nil},
		{"an address by which nobody is known", "192.0.2.1:1", nil, nobody, nil},
		{"a listener without addresses proves nothing", "@", nil, nobody, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: row.from, Header: row.header.Clone()}
			got, err := c.identify(r)
			if err != nil || got != row.want {
				t.Errorf("identify = %+v, %v; want %+v", got, err, row.want)
			}
			if diff := cmp.Diff(row.left, r.Header); diff != "" {
				t.Errorf("what travels on (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCallersThatCannotBeRead(t *testing.T) {
	for _, row := range []struct {
		name   string
		caller configv1alpha1.Caller
		want   string
	}{
		{"a hash that is too short", configv1alpha1.Caller{TokenSHA256: "abcd"}, "callers[0].tokenSHA256"},
		{"a hash that is none", configv1alpha1.Caller{TokenSHA256: strings.Repeat("x", 64)}, "callers[0].tokenSHA256"},
		{"an address without a length", configv1alpha1.Caller{CIDRs: []string{"10.0.0.1"}}, "callers[0].cidrs"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := newCallers([]configv1alpha1.Caller{row.caller}); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want one that names %s", err, row.want)
			}
		})
	}
}

// Whatever a workload sends, it is either somebody known or nobody, and no token of ours travels on.
func FuzzIdentify(f *testing.F) {
	for _, v := range []string{"Bearer token-a", "bearer token-b", "token-a", "Bearer", "Bearer ", "Basic eA==", "", "token-a token-a", "Bearer \x00"} {
		f.Add("Authorization", v)
		f.Add("Proxy-Authorization", v)
	}
	c, err := newCallers(known)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		r := &http.Request{RemoteAddr: "192.0.2.1:1", Header: http.Header{http.CanonicalHeaderKey(name): {value}}}
		s, err := c.identify(r)
		if err != nil {
			t.Fatal(err)
		}
		if s != (hop.Subject{}) && !strings.Contains(value, "token-a") && !strings.Contains(value, "token-b") {
			t.Errorf("%s: %q is %+v", name, value, s)
		}
		if s != (hop.Subject{}) && len(r.Header) != 0 {
			t.Errorf("a token travels on: %v", r.Header)
		}
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("Proxy-Authorization travels on")
		}
	})
}
