package tunnel_test

import (
	"strings"
	"testing"

	"penstock.dev/penstock/tunnel"
)

func TestParseID(t *testing.T) {
	for _, tc := range []struct {
		uri  string
		want tunnel.ID // zero: refused
		why  string    // what the refusal says
	}{
		{
			uri:  "spiffe://example.com/cluster/east/gateway/9f3c",
			want: tunnel.ID{TrustDomain: "example.com", Role: tunnel.RoleSpoke, Cluster: "east", Group: "9f3c"},
		},
		{
			uri:  "spiffe://example.com/hub/3c",
			want: tunnel.ID{TrustDomain: "example.com", Role: tunnel.RoleHub, Group: "3c"},
		},
		{uri: "", why: "does not begin"},
		{uri: "https://example.com/hub/3c", why: "does not begin"},
		{uri: "SPIFFE://example.com/hub/3c", why: "does not begin"},
		{uri: "spiffe://example.com", why: "no path"},
		{uri: "spiffe:///hub/3c", why: "trust domain"},
		{uri: "spiffe://Example.com/hub/3c", why: "trust domain"},
		{uri: "spiffe://example.com:443/hub/3c", why: "trust domain"},
		{uri: "spiffe://me@example.com/hub/3c", why: "trust domain"},
		{uri: "spiffe://" + strings.Repeat("a", 256) + "/hub/3c", why: "trust domain"},
		{uri: "spiffe://example.com/hub/3c/", why: "segment"},
		{uri: "spiffe://example.com//hub/3c", why: "segment"},
		{uri: "spiffe://example.com/hub/..", why: "segment"},
		{uri: "spiffe://example.com/hub/%33c", why: "segment"},
		{uri: "spiffe://example.com/hub/3c?x=1", why: "segment"},
		{uri: "spiffe://example.com/hub/3c#x", why: "segment"},
		{uri: "spiffe://example.com/hub", why: "neither"},
		{uri: "spiffe://example.com/Hub/3c", why: "neither"},
		{uri: "spiffe://example.com/spoke/3c", why: "neither"},
		{uri: "spiffe://example.com/cluster/east", why: "neither"},
		{uri: "spiffe://example.com/cluster/east/gateway", why: "neither"},
		{uri: "spiffe://example.com/cluster/east/gateway/9f/x", why: "neither"},
		{uri: "spiffe://example.com/cluster/east/hub/9f", why: "neither"},
		{uri: "spiffe://example.com/hub/" + strings.Repeat("a", 2048), why: "2048"},
	} {
		got, err := tunnel.ParseID(tc.uri)
		switch {
		case tc.why == "" && (err != nil || got != tc.want):
			t.Errorf("ParseID(%q) = %+v, %v, want %+v", tc.uri, got, err, tc.want)
		case tc.why != "" && (err == nil || !strings.Contains(err.Error(), tc.why)):
			t.Errorf("ParseID(%q) error = %v, want one that says %q", tc.uri, err, tc.why)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("spiffe://example.com/cluster/east/gateway/9f3c")
	f.Add("spiffe://example.com/hub/3c")
	f.Add("spiffe://example.com/hub/../x")
	f.Fuzz(func(t *testing.T, uri string) {
		id, err := tunnel.ParseID(uri)
		if err != nil {
			if id != (tunnel.ID{}) {
				t.Errorf("ParseID(%q) refused and returned %+v", uri, id)
			}
			return
		}
		if got := id.String(); got != uri {
			t.Errorf("ParseID(%q) prints as %q", uri, got)
		}
	})
}
