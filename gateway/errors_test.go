package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/filter"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/tunnel"
)

// outside is an endpoint's error.
func outside(c endpoint.Cause, class retry.Class, sent bool) *endpoint.Error {
	return &endpoint.Error{Cause: c, Class: class, Sent: sent, Err: errors.New("dial tcp 10.1.2.3:443: secret-name")}
}

func proven(err error, proof string) error {
	return &tunnel.Error{Hub: "hub-eu-internal", Err: err, Proof: proof}
}

// One line per row of HOPS-AND-RETRIES B.3 that is answered by a gateway, and per reason.
func TestWhatTheClientSees(t *testing.T) {
	refusal := func(k hop.Kind) *failure {
		return hopFailure(&hop.Refusal{Kind: k, Reason: "group 4f1c on the path"})
	}
	decided := func(r route.Reason) *failure { return fail(string(r), "object billing/secret", "change it") }
	for _, c := range []struct {
		name       string
		f          *failure
		status     int
		error      string
		details    string
		retryAfter string
		grpc       string
	}{
		{"row 1: no tunnel is up", parentFailure(proven(tunnel.ErrNoTunnel, "P1"), false), 503, "destination_unavailable", "parent-unreachable", "1", "14"},
		{"row 2: the hub's certificate is bad", parentFailure(proven(tunnel.ErrCertificate, "P1"), false), 503, "tls_certificate_error", "parent-certificate", "1", "14"},
		{"row 3: our certificate was refused", parentFailure(proven(tunnel.ErrRefused, "P1"), false), 503, "tls_alert_received", "own-certificate-refused", "1", "14"},
		{"row 4: no stream is free", parentFailure(proven(tunnel.ErrStreamLimit, "P1"), false), 503, "connection_limit_reached", "parent-streams", "1", "14"},
		{"row 5: nothing was written", parentFailure(proven(tunnel.ErrNotWritten, "P4"), false), 503, "destination_unavailable", "parent-unreachable", "1", "14"},
		{"row 6: rejected", parentFailure(proven(tunnel.ErrRejected, "P2"), false), 503, "destination_unavailable", "parent-unreachable", "1", "14"},
		{"row 6: ended before reading", parentFailure(proven(tunnel.ErrEnded, "P2"), false), 503, "destination_unavailable", "parent-unreachable", "1", "14"},
		{"row 8: the hub is overloaded", parentFailure(nil, true), 503, "connection_limit_reached", "parent-overload", "1", "14"},
		{"row 8: and there is no other", parentFailure(proven(tunnel.ErrNoOther, "P1"), false), 503, "connection_limit_reached", "parent-overload", "1", "14"},
		{"row 9: the tunnel died", parentFailure(proven(tunnel.ErrPeerLost, ""), false), 502, "connection_terminated", "parent-lost", "", "14"},
		{"row 9: the hub cancelled", parentFailure(proven(tunnel.ErrCancelled, ""), false), 502, "connection_terminated", "parent-lost", "", "14"},
		{"the hub's answer is malformed", parentFailure(proven(tunnel.ErrMalformed, ""), false), 502, "http_protocol_error", "parent-malformed", "", "14"},

		{"row 11: a loop by the path", refusal(hop.LoopPath), 508, "proxy_loop_detected", "path", "", "9"},
		{"row 11: a loop by hops", refusal(hop.LoopHops), 508, "proxy_loop_detected", "hops", "", "9"},
		{"row 11: a loop through the outside", refusal(hop.LoopExternal), 508, "proxy_loop_detected", "external", "", "9"},
		{"row 11: a dial of ourselves", endpointFailure(outside(endpoint.SelfDial, retry.NoRepeat, false)), 508, "proxy_loop_detected", "self-dial", "", "9"},

		{"row 12: no listener", decided(route.NoListener), 404, "destination_not_found", "no-listener", "", "12"},
		{"row 12: no route", decided(route.NoRoute), 404, "destination_not_found", "no-route", "", "12"},
		{"row 12: no grant", decided(route.NotGranted), 403, "http_request_denied", "not-granted", "", "7"},
		{"row 12: a bad path", decided(route.BadPath), 400, "http_request_error", "bad-path", "", "13"},
		{"an identity too weak", decided(route.IdentityTooWeak), 401, "http_request_denied", "identity-too-weak", "", "16"},
		{"a suspended cluster", decided(route.ClusterSuspended), 403, "http_request_denied", "cluster-suspended", "", "7"},
		{"a guard", decided(route.RefusedByGuard), 403, "http_request_denied", "refused-by-guard", "", "7"},
		{"a route without backend", decided(route.NoBackend), 500, "proxy_configuration_error", "no-backend", "", "2"},
		{"an unknown filter", decided(route.UnknownFilter), 500, "proxy_configuration_error", "unknown-filter", "", "2"},
		{"an unknown filter at run time", filterFailure(&filter.Error{Filter: &route.Filter{}, Err: filter.ErrUnknownType}), 500, "proxy_configuration_error", "unknown-filter", "", "2"},
		{"a filter that failed", filterFailure(&filter.Error{Filter: &route.Filter{Name: "secret-name"}, Err: errors.New("secret-name")}), 500, "proxy_internal_error", "filter-failed", "", "2"},

		{"malformed tags", refusal(hop.Malformed), 400, "http_request_error", "malformed", "", "13"},
		{"a nominated tag", refusal(hop.Nominated), 400, "http_request_error", "reserved-name", "", "13"},
		{"a forged path", refusal(hop.Forged), 403, "http_request_denied", "hop-forged", "", "7"},
		{"a cluster nobody vouches for", refusal(hop.NotVouched), 403, "http_request_denied", "origin-not-vouched", "", "7"},
		{"a reserved host", refusal(hop.ReservedHost), 403, "http_request_denied", "reserved-host", "", "7"},
		{"row 31: no time left", refusal(hop.Deadline), 504, "http_response_timeout", "deadline", "", "4"},

		{"a gateway that is full", fail(reasonOverload, "", ""), 503, "connection_limit_reached", "overload", "1", "14"},
		{"a backend that is full", fail(reasonBackendBusy, "", ""), 503, "connection_limit_reached", "backend-busy", "1", "14"},
		{"row 13: a caller that is full", fail(reasonSubjectBusy, "", ""), 429, "connection_limit_reached", "caller-busy", "1", "8"},
		{"row 14: no credential", endpointFailure(outside(endpoint.CredentialUnavailable, retry.NoRepeat, false)), 503, "proxy_internal_error", "credential-unavailable", "5", "14"},
		{"a credential for another host", endpointFailure(outside(endpoint.CredentialHost, retry.NoRepeat, false)), 403, "http_request_denied", "credential-host", "", "7"},
		{"row 15: the name does not resolve", endpointFailure(outside(endpoint.DNSError, retry.NoRepeat, false)), 502, "dns_error", "dns", "", "14"},
		{"row 16: the address is prohibited", endpointFailure(outside(endpoint.DestinationProhibited, retry.NoRepeat, false)), 403, "destination_ip_prohibited", "destination-prohibited", "", "7"},
		{"row 17: refused", endpointFailure(outside(endpoint.ConnectionRefused, retry.ConnectFailure, false)), 502, "connection_refused", "connection-refused", "", "14"},
		{"row 17: timed out", endpointFailure(outside(endpoint.ConnectionTimeout, retry.ConnectFailure, false)), 504, "connection_timeout", "connection-timeout", "", "4"},
		{"row 18: the certificate is bad", endpointFailure(outside(endpoint.TLSCertificateError, retry.NoRepeat, false)), 502, "tls_certificate_error", "tls-certificate", "", "14"},
		{"row 18: the handshake was reset", endpointFailure(outside(endpoint.TLSProtocolError, retry.ConnectFailure, false)), 502, "tls_protocol_error", "tls-protocol", "", "14"},
		{"row 19: the connection closed", endpointFailure(outside(endpoint.ConnectionTerminated, retry.ResetBeforeHeaders, true)), 502, "connection_terminated", "connection-terminated", "", "14"},
		{"row 21: the protocol was broken", endpointFailure(outside(endpoint.ProtocolError, retry.ResetBeforeHeaders, true)), 502, "http_protocol_error", "protocol-error", "", "14"},
		{"row 22: no answer in time", endpointFailure(outside(endpoint.ResponseTimeout, retry.PerTryTimeout, true)), 504, "http_response_timeout", "response-timeout", "", "4"},
		{"row 28: a header too large", endpointFailure(outside(endpoint.ResponseHeaderSize, retry.NoRepeat, true)), 502, "http_response_header_section_size", "response-header-size", "", "14"},
		{"an error of no known kind", endpointFailure(errors.New("secret-name")), 502, "connection_terminated", "connection-terminated", "", "14"},
		{"row 32: a panic", fail(reasonPanic, "", ""), 502, "proxy_internal_error", "internal-error", "", "14"},

		{"a request outside of a tunnel", fail(reasonNoPeer, "", ""), 403, "http_request_denied", "no-peer", "", "7"},
		{"control where there is none", fail(reasonNoControl, "", ""), 404, "destination_not_found", "no-control", "", "12"},
		{"a method that is not forwarded", fail(reasonMethod, "", ""), 405, "http_request_denied", "method-refused", "", "12"},
		{"an identity that is not valid", fail(reasonIdentityInvalid, "", ""), 401, "http_request_denied", "identity-invalid", "", "16"},
		{"an identity that cannot be checked", fail(reasonIdentityUnavailable, "", ""), 503, "proxy_internal_error", "identity-unavailable", "1", "14"},
		{"no next hop", fail(reasonNoNextHop, "", ""), 500, "proxy_configuration_error", "no-next-hop", "", "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, ex := range []executed{executedNo, executedMaybe} {
				f := *c.f
				f.executed = ex
				w := httptest.NewRecorder()
				if status := f.write(w, "pabc", "01JREQ", false); status != c.status || w.Code != c.status {
					t.Errorf("status %d, written %d, want %d", status, w.Code, c.status)
				}
				h := w.Header()
				if want := fmt.Sprintf(`pabc; error=%s; details="%s"; executed=%s`, c.error, c.details, ex); h.Get("Proxy-Status") != want {
					t.Errorf("Proxy-Status %q, want %q", h.Get("Proxy-Status"), want)
				}
				for name, want := range map[string]string{
					"Cache-Control": "no-store", "X-Request-Id": "01JREQ", "Retry-After": c.retryAfter, "Content-Type": "application/json",
				} {
					if got := h.Get(name); got != want {
						t.Errorf("%s is %q, want %q", name, got, want)
					}
				}
				if loop := c.status == 508; (h.Get("X-Should-Retry") == "false") != loop {
					t.Errorf("X-Should-Retry is %q", h.Get("X-Should-Retry"))
				}
				var b body
				if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || b.Error != c.f.reason || b.RequestID != "01JREQ" || b.Message == "" {
					t.Errorf("body %s: %v", w.Body, err)
				}
				if said := strings.Contains(b.Message, "may have been executed"); said != (ex == executedMaybe) {
					t.Errorf("executed=%s and the message is %q", ex, b.Message)
				}
				safe(t, w)
			}
		})
		t.Run(c.name+", for gRPC", func(t *testing.T) {
			w := httptest.NewRecorder()
			if status := c.f.write(w, "pabc", "01JREQ", true); status != c.status || w.Code != http.StatusOK || w.Body.Len() > 0 {
				t.Errorf("status %d, written %d with body %q; want %d as a trailers-only 200", status, w.Code, w.Body, c.status)
			}
			h := w.Header()
			if h.Get("Grpc-Status") != c.grpc || h.Get("Content-Type") != "application/grpc" || h.Get("Grpc-Message") == "" {
				t.Errorf("header %v, want grpc-status %s", h, c.grpc)
			}
			safe(t, w)
		})
	}
}

// safe fails when an answer tells more than a workload may know: addresses, names, causes.
func safe(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	text := fmt.Sprint(w.Header(), w.Body)
	for _, secret := range []string{"secret", "10.1.2.3", "hub-eu", "4f1c", "change it", "Penstock"} {
		if strings.Contains(text, secret) {
			t.Errorf("the answer tells %q: %s", secret, text)
		}
	}
}

func TestWhatMayHaveBeenExecutedIsNotUnavailableForGRPC(t *testing.T) {
	f := parentFailure(proven(tunnel.ErrPeerLost, ""), false)
	f.executed = executedMaybe
	w := httptest.NewRecorder()
	f.write(w, "pabc", "01JREQ", true)
	if got := w.Header().Get("Grpc-Status"); got != "2" {
		t.Errorf("grpc-status %s, want 2 (UNKNOWN): clients repeat UNAVAILABLE", got)
	}
}

// Whatever can be refused has an answer, and an operator is told what to change.
func TestEveryRefusalHasAnAnswer(t *testing.T) {
	for _, r := range []route.Reason{
		route.BadPath, route.NoListener, route.NoRoute, route.NoBackend, route.NotGranted, route.IdentityTooWeak,
		route.ClusterSuspended, route.RefusedByGuard, route.UnknownFilter,
	} {
		if _, ok := answers[string(r)]; !ok {
			t.Errorf("route reason %s has no answer", r)
		}
	}
	for _, k := range []hop.Kind{
		hop.LoopPath, hop.LoopHops, hop.LoopExternal, hop.LoopSelfDial, hop.Malformed, hop.Nominated, hop.Forged, hop.NotVouched, hop.Deadline, hop.ReservedHost,
	} {
		f := hopFailure(&hop.Refusal{Kind: k})
		if _, ok := answers[f.reason]; !ok || f.remedy == "" {
			t.Errorf("hop kind %s: reason %s has no answer, or no remedy (%q)", k, f.reason, f.remedy)
		}
	}
	for cause, reason := range causes {
		if _, ok := answers[reason]; !ok || remedies[reason] == "" {
			t.Errorf("cause %s: reason %s has no answer or no remedy", cause, reason)
		}
	}
	for reason, a := range answers {
		if a.status < 400 || a.status > 599 || a.error == "" || a.message == "" {
			t.Errorf("answer of %s: %+v", reason, a)
		}
	}
}

func TestProxyStatusNames(t *testing.T) {
	for pseudonym, want := range map[string]string{
		"pabc": `pabc; error=e; details="d"; executed=no`,
		"9abc": `"9abc"; error=e; details="d"; executed=no`,
		"":     `""; error=e; details="d"; executed=no`,
	} {
		if got := proxyStatus(pseudonym, "e", "d", executedNo); got != want {
			t.Errorf("%q: %s, want %s", pseudonym, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	rule := &route.Rule{Route: route.Ref{Kind: "HTTPRoute", Namespace: "shop", Name: "pay"}, Name: "0"}
	backend := &route.Backend{Key: "billing/payments"}
	guard := &route.Filter{Name: "no-admin", Type: route.FilterRequestGuard, From: "EgressPolicy billing/p"}
	q := route.Query{Port: 80, Protocol: route.ProtocolHTTP, Host: "api", Path: "/x", Method: "GET", Cluster: "east", Namespace: "shop", ServiceAccount: "bot", Proof: "ip"}
	for _, c := range []struct {
		d              route.Decision
		detail, remedy string // parts of the texts
	}{
		{route.Decision{Reason: route.BadPath, PathError: route.ErrPathDotSegment}, "dot segments", "dot segments"},
		{route.Decision{Reason: route.NoListener}, "port 80 has host name api", "listener"},
		{route.Decision{Reason: route.NoRoute}, "GET /", "add a route"},
		{route.Decision{Reason: route.NoBackend, Rule: rule}, "HTTPRoute shop/pay", "ResolvedRefs"},
		{route.Decision{Reason: route.NoBackend, Rule: rule, Target: &route.Target{Invalid: "BackendNotFound"}}, "BackendNotFound", "ResolvedRefs"},
		{route.Decision{Reason: route.NotGranted, Addressed: "billing/payments"}, "namespace shop, service account bot, cluster east", "EgressGrant in the namespace of billing/payments"},
		{route.Decision{Reason: route.NotGranted}, "for host api", ""},
		{route.Decision{Reason: route.IdentityTooWeak, Backend: backend, WantProof: "token"}, "billing/payments wants proof token", "sourceIP: Trusted"},
		{route.Decision{Reason: route.ClusterSuspended}, "cluster east", "penstock cluster resume east"},
		{route.Decision{Reason: route.RefusedByGuard, Filter: guard}, "no-admin", "guard"},
		{route.Decision{Reason: route.UnknownFilter, Filter: guard}, "EgressPolicy billing/p", "FilterDefinition"},
	} {
		t.Run(string(c.d.Reason), func(t *testing.T) {
			detail, remedy := Explain(q, c.d)
			if !strings.Contains(detail, c.detail) || !strings.Contains(remedy, c.remedy) {
				t.Errorf("detail %q, remedy %q; want %q and %q in them", detail, remedy, c.detail, c.remedy)
			}
		})
	}
	if detail, remedy := Explain(q, route.Decision{}); detail != "" || remedy != "" {
		t.Errorf("a request that may go on is explained: %q, %q", detail, remedy)
	}
}
