package cli

import (
	"testing"
	"time"
)

func TestKindsAreUnderstoodAsPeopleTypeThem(t *testing.T) {
	for typed, want := range map[string]string{
		"Backend": "Backend", "backends": "Backend", "be": "Backend", "backend.penstock.dev": "Backend",
		"EgressPolicies": "EgressPolicy", "gatewayclasses": "GatewayClass", "gateways": "Gateway", "httproutes": "HTTPRoute",
		"svc": "Service", "Widget": "Widget", "": "",
	} {
		if got := lookupKind(typed).kind; got != want {
			t.Errorf("%q is %q, want %q", typed, got, want)
		}
	}
}

func TestAgesReadAsKubectlPrintsThem(t *testing.T) {
	for _, r := range []struct {
		ago  time.Duration
		want string
	}{
		{-time.Minute, "0s"},
		{90 * time.Second, "90s"},
		{3 * time.Minute, "3m"},
		{119 * time.Minute, "119m"},
		{5 * time.Hour, "5h"},
		{47 * time.Hour, "47h"},
		{72 * time.Hour, "3d"},
	} {
		if got := age(time.Now().Add(-r.ago - 100*time.Millisecond)); got != r.want {
			t.Errorf("%s ago prints %q, want %q", r.ago, got, r.want)
		}
	}
	if got := age(time.Time{}); got != "-" {
		t.Errorf("the zero time prints %q, want -", got)
	}
	if got := until(time.Now().Add(-time.Second)); got != "expired" {
		t.Errorf("a time that has passed prints %q, want expired", got)
	}
}
