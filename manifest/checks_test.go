package manifest

import (
	"testing"
	"time"
)

func TestCheckHostname(t *testing.T) {
	opt := Options{OwnNames: []string{"hub.example.com."}, ClusterDomain: "corp.example"}
	for _, row := range []struct{ host, want string }{
		{"api.example.com", ""},
		{"a-1.b.example", ""},
		{"xn--bcher-kva.example", ""},
		{"svc.example.com", ""},
		{"cluster.local.example.com", ""},
		{"1.example.com", ""},
		{"", ReasonInvalidHostname},
		{"api", ReasonInvalidHostname},
		{"api.example.com.", ReasonInvalidHostname},
		{"API.example.com", ReasonInvalidHostname},
		{"*.example.com", ReasonInvalidHostname},
		{"a_b.example.com", ReasonInvalidHostname},
		{"-a.example.com", ReasonInvalidHostname},
		{"a..example.com", ReasonInvalidHostname},
		{"api.example.com:443", ReasonInvalidHostname},
		{"user@api.example.com", ReasonInvalidHostname},
		{"127.0.0.1", ReasonInvalidHostname},
		{"127.1", ReasonInvalidHostname},
		{"2130706433", ReasonInvalidHostname},
		{"0x7f000001", ReasonInvalidHostname},
		{"0x7F.0.0.1", ReasonInvalidHostname},
		{"0177.0.0.1", ReasonInvalidHostname},
		{"127.0.0.1.", ReasonInvalidHostname},
		{"api.example.0x1", ReasonInvalidHostname},
		{"api.example.0x", ReasonInvalidHostname},
		{"api.example.1", ReasonInvalidHostname},
		{"::1", ReasonInvalidHostname},
		{"[::1]", ReasonInvalidHostname},
		{"::ffff:127.0.0.1", ReasonInvalidHostname},
		{"fe80::1%eth0", ReasonInvalidHostname},
		{"db.billing.svc", ReasonClusterLocalName},
		{"db.billing.svc.cluster.local", ReasonClusterLocalName},
		{"cluster.local", ReasonClusterLocalName},
		{"db.corp.example", ReasonClusterLocalName},
		{"localhost", ReasonClusterLocalName},
		{"a.localhost", ReasonClusterLocalName},
		{"openai.ai.svc.clusterset.local", ReasonSelfReference},
		{"x.clusterset.local", ReasonSelfReference},
		{"hub.penstock.internal", ReasonSelfReference},
		{"penstock.internal", ReasonSelfReference},
		{"hub.example.com", ReasonSelfReference},
	} {
		got := checkHostname(row.host, opt)
		if got.reason != row.want {
			t.Errorf("checkHostname(%q) = %q (%s), want %q", row.host, got.reason, got.message, row.want)
		}
		if !got.ok() && got.remedy == "" {
			t.Errorf("checkHostname(%q) says no remedy", row.host)
		}
	}
}

func TestCheckCIDR(t *testing.T) {
	for _, row := range []struct {
		cidr string
		ok   bool
		why  string
	}{
		{"10.20.0.0/16", true, "an exact private range"},
		{"127.0.0.9/32", true, "one address"},
		{"fd12:3456::/32", true, "an IPv6 range"},
		{"169.254.1.0/24", true, "link-local without metadata"},
		{"10.20.30.40/16", false, "bits behind the mask"},
		{"10.20.0.0", false, "no mask"},
		{"0.0.0.0/0", false, "everything covers metadata"},
		{"::/0", false, "everything, in IPv6"},
		{"169.254.169.254/32", false, "the metadata address itself"},
		{"169.254.160.0/20", false, "a range around it"},
		{"100.64.0.0/10", false, "carrier-grade NAT covers Alibaba's"},
		{"fd00:ec2::/32", false, "AWS in IPv6"},
		{"fc00::/7", false, "all unique local addresses cover it"},
		{"192.0.0.0/24", false, "Oracle's"},
		{"::ffff:10.0.0.0/104", false, "IPv4 in IPv6 spelling"},
		{"64:ff9b::a9fe:a9fe/128", false, "metadata through NAT64"},
		{"64:ff9b::/96", false, "all of IPv4 through NAT64"},
		{"fe80::1%eth0/128", false, "a zone"},
	} {
		canonical, bad := checkCIDR(row.cidr)
		if bad.ok() != row.ok {
			t.Errorf("checkCIDR(%q) = %q, %q; %s", row.cidr, canonical, bad.message, row.why)
		}
	}
}

func TestIntersect(t *testing.T) {
	for _, row := range []struct {
		a, b, want string
		ok         bool
	}{
		{"", "", "", true},
		{"", "a.example.com", "a.example.com", true},
		{"a.example.com", "a.example.com", "a.example.com", true},
		{"a.example.com", "b.example.com", "", false},
		{"*.example.com", "a.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", "", false},
		{"*.example.com", "aexample.com", "", false},
		{"*.example.com", "*.b.example.com", "*.b.example.com", true},
		{"*.a.example.com", "*.b.example.com", "", false},
		{"*.example.com", "", "*.example.com", true},
	} {
		for _, pair := range [][2]string{{row.a, row.b}, {row.b, row.a}} {
			if got, ok := intersect(pair[0], pair[1]); got != row.want || ok != row.ok {
				t.Errorf("intersect(%q, %q) = %q, %t; want %q, %t", pair[0], pair[1], got, ok, row.want, row.ok)
			}
		}
	}
}

func TestAuthorityIsInvertible(t *testing.T) {
	for _, row := range [][2]string{{"ai", "openai"}, {"a", "b.c"}, {"svc", "svc"}} {
		ns, name, ok := entryOf(Authority(row[0], row[1]))
		if !ok || ns != row[0] || name != row[1] {
			t.Errorf("entryOf(Authority(%q, %q)) = %q, %q, %t", row[0], row[1], ns, name, ok)
		}
	}
	for _, host := range []string{"", "svc.clusterset.local", "ai.svc.clusterset.local", ".ai.svc.clusterset.local", "a..svc.clusterset.local", "a.b.svc.cluster.local", "a.b.svc.clusterset.local.example.com"} {
		if ns, name, ok := entryOf(host); ok {
			t.Errorf("entryOf(%q) = %q, %q, want none", host, ns, name)
		}
	}
}

func TestOlder(t *testing.T) {
	at := func(name string, day int) *Object {
		o := &Object{ID: ID{Kind: "EgressPolicy", Namespace: "a", Name: name}}
		if day > 0 {
			o.Created = time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
		}
		return o
	}
	for _, row := range []struct {
		name string
		a, b *Object
		want int
	}{
		{"the earlier one is older, whatever its name", at("z", 1), at("a", 2), -1},
		{"at the same time the name decides", at("a", 1), at("b", 1), -1},
		{"one without a time is youngest", at("a", 0), at("z", 2), 1},
		{"of two without a time the name decides", at("b", 0), at("a", 0), 1},
		{"an object is as old as itself", at("a", 1), at("a", 1), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := older(row.a, row.b); got != row.want {
				t.Errorf("older = %d, want %d", got, row.want)
			}
			if got := older(row.b, row.a); got != -row.want {
				t.Errorf("older the other way round = %d, want %d", got, -row.want)
			}
		})
	}
}
