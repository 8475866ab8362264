package gateway

import (
	"cmp"
	"fmt"

	"penstock.dev/penstock/gateway/route"
)

// remedies say what an operator can change, by reason.
var remedies = map[string]string{
	reasonMalformed:          "run the same protocol version at both ends of the tunnel, and let only gateways send requests into it",
	reasonHeaderTooLarge:     "send fewer or shorter header fields, or raise limits.headerBytes or limits.headerFields",
	reasonURITooLong:         "send a shorter target, or raise limits.uriBytes",
	reasonBodyTooLarge:       "send less at once, or raise limits.requestMiB",
	reasonSlowRequest:        "find out why the client stopped sending, or raise limits.bodyIdle",
	reasonReservedName:       "take the header out of the request, and out of Connection",
	reasonHopForged:          "look at the peer: its certificate and the path it writes disagree",
	reasonNotVouched:         "name the cluster in vouchesFor of the Cluster object of that hub",
	reasonReservedHost:       "call another host; names under penstock.internal are for gateways",
	reasonLoop:               "follow the path in this refusal: a Backend or a parent of one gateway leads back to an earlier one",
	reasonDeadline:           "raise timeouts.request of the route or egress.timeouts.responseHeaders of the Backend, or find out what is slow",
	reasonNoNextHop:          "give this gateway a parent, or let it dial the Backend itself",
	reasonMethod:             "use another method",
	reasonOverload:           "add replicas, or raise the number of requests in flight",
	reasonBackendBusy:        "raise egress.limits.maxInFlight or maxStreams of the Backend, or add hub replicas",
	reasonSubjectBusy:        "raise egress.limits.perSubject of the Backend, or send fewer requests at once",
	reasonFilterFailed:       "correct the filter that the detail names",
	reasonIdentityInvalid:    "send a current service account token with the right audience",
	reasonParentUnreachable:  "look at `penstock status`: is a hub up, and is UDP to it open?",
	reasonParentCertificate:  "compare the hub's certificate with the trust bundle of the spoke",
	reasonOwnCertificate:     "recover the registration: penstock cluster recover",
	reasonParentStreams:      "add hub replicas or lanes",
	reasonParentOverload:     "add hub replicas",
	reasonParentLost:         "nothing was repeated, since the request may have been executed; ask its destination",
	reasonParentMalformed:    "run the same version at both ends of the tunnel",
	reasonDNS:                "correct spec.externalHostname.hostname of the Backend, or the resolver",
	reasonProhibited:         "open the range with egress.addressPolicy.allowedCIDRs of the Backend, if it should be open",
	reasonConnectionRefused:  "check port.number of the Backend and that the destination is up",
	reasonUpgrade:            "call a path of the destination that serves this protocol; if it does so on HTTP/1.1 alone, set spec.protocol of the Backend to HTTP11",
	reasonConnectionTimeout:  "check that the destination can be reached from this gateway, or raise egress.timeouts.connect",
	reasonTLSCertificate:     "correct tls.validation of the Backend (hostname, CA, subjectAltNames), or the destination's certificate",
	reasonTLSProtocol:        "check tls.mode and port.number of the Backend",
	reasonResponseTimeout:    "raise egress.timeouts.responseHeaders of the Backend, or timeouts.backendRequest of the route",
	reasonTerminated:         "look at the destination: it closed the connection before it answered",
	reasonProtocol:           "set spec.protocol of the Backend to what the destination speaks",
	reasonResponseHeaderSize: "let the destination send a smaller response header",
	reasonCredential:         "set the credential's value: penstock credential set",
	reasonCredentialHost:     "add the destination to spec.hosts of the Credential, if it may go there",
	reasonPanic:              "this is a bug; report it with the log of this request id",

	reasonNoPeer:              "send requests to a workload listener; only gateways speak to this one",
	reasonNoControl:           "this gateway is no hub; point the spoke at one",
	reasonIdentityUnavailable: "look at what checks identities, and try again",

	string(route.NotGranted):       "add the caller to an EgressGrant in the namespace of the Backend",
	string(route.ClusterSuspended): "penstock cluster resume, or spec.suspended of the Cluster object",
	string(route.BadPath):          "send the path without dot segments and with valid escapes",
	string(route.NoListener):       "add a listener with this host name, or call another host",
	string(route.NoRoute):          "add a route for this host, path and method",
	string(route.NoBackend):        "look at ResolvedRefs of the route; give one of its backends a weight above 0",
	string(route.NoEndpoints):      "look at the EndpointSlices of the Service: is a pod of it ready?",
	string(route.Misdirected):      "open a connection with this server name; clients that share connections between names do so by themselves after a 421",
	string(route.RefusedByGuard):   "change the guard that the detail names, or the request",
	string(route.UnknownFilter):    "install the filter's FilterDefinition and its code, or take the filter out",
	string(route.IdentityTooWeak):  "let the workload send its service account token, or set sourceIP: Trusted on the Cluster or minIdentity on the Backend",
}

// Explain says in full why a decision refuses a request, and what to change so that it does not. Both are for operators,
// not for workloads: they name objects. Both are empty if the request may go on.
func Explain(q route.Query, d route.Decision) (detail, remedy string) {
	if d.Reason == route.None {
		return "", ""
	}
	remedy = remedies[string(d.Reason)]
	caller := fmt.Sprintf("namespace %s, service account %s, cluster %s", name(q.Namespace), name(q.ServiceAccount), name(q.Cluster))
	target := cmp.Or(d.Addressed, backendKey(d))
	switch d.Reason {
	case route.BadPath:
		detail = fmt.Sprintf("path %q: %v", q.Path, d.PathError)
	case route.NoListener:
		detail = fmt.Sprintf("no %s listener on port %d has host name %s", q.Protocol, q.Port, q.Host)
	case route.NoRoute:
		detail = fmt.Sprintf("no rule of the listeners for host %s matches %s %s", q.Host, q.Method, d.Path)
	case route.NoBackend:
		detail = fmt.Sprintf("%s, rule %s has no target to send to", d.Rule.Route, d.Rule.Name)
		if d.Target != nil && d.Target.Invalid != "" {
			detail = fmt.Sprintf("%s, rule %s: the chosen target is invalid: %s", d.Rule.Route, d.Rule.Name, d.Target.Invalid)
		}
	case route.NoEndpoints:
		detail = fmt.Sprintf("%s, rule %s: %s has no ready endpoint", d.Rule.Route, d.Rule.Name, d.Backend.Key)
	case route.Misdirected:
		detail = fmt.Sprintf("the connection was opened for server name %s, the request is for host %s of listener %s of %s", name(q.ServerName), q.Host, d.Listener.Name, d.Listener.Gateway)
	case route.NotGranted:
		detail = fmt.Sprintf("no EgressGrant covers %s for host %s", caller, q.Host)
		if target != "" {
			detail = fmt.Sprintf("no EgressGrant for %s covers %s", target, caller)
			remedy = fmt.Sprintf("add the caller to an EgressGrant in the namespace of %s, if the Backend exists", target)
		}
	case route.ClusterSuspended:
		detail = fmt.Sprintf("cluster %s is suspended", q.Cluster)
		remedy = fmt.Sprintf("penstock cluster resume %s", q.Cluster)
	case route.IdentityTooWeak:
		detail = fmt.Sprintf("backend %s wants proof %s, the caller (%s) has %s", target, d.WantProof, caller, name(q.Proof))
	case route.RefusedByGuard, route.UnknownFilter:
		detail = fmt.Sprintf("filter %s (type %s) %s: %s %s", d.Filter.Name, d.Filter.Type, from(d.Filter), q.Method, d.Path)
	}
	return detail, remedy
}

func backendKey(d route.Decision) string {
	if d.Backend == nil {
		return ""
	}
	return d.Backend.Key
}

func from(f *route.Filter) string { return "of " + cmp.Or(f.From, "the route") }

func name(s string) string { return cmp.Or(s, "(none)") }
