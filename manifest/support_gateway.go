package manifest

// gatewayFeatures are GatewayClass, Gateway and its listeners, ReferenceGrant.
func gatewayFeatures() []Feature {
	return []Feature{
		{"GatewayClass", "controllerName, parametersRef", "Only classes of the own controller are looked at; parametersRef names a GatewayConfig.", "Gateway", Served, "gateway_classes"},
		{"GatewayClass", "parametersRef of another kind, or to nothing", "The class is not accepted, nor are its Gateways.", "Gateway", Refused, "spoke_parameters_invalid"},
		{"Gateway", "listeners HTTP: port, hostname", "HTTP/1.1 and HTTP/2 with prior knowledge; the most specific hostname takes a request, and no other listener's routes.", "GatewayHTTPListenerIsolation", Served, "listener_hostnames"},
		{"Gateway", "listeners of one port and hostname, or of two protocols on one port", "The older Gateway, and in it the first listener, keeps the place; the other one is Conflicted.", "Gateway", Refused, "listener_conflicts"},
		{"Gateway", "allowedRoutes: namespaces, kinds", "Same, All and Selector; kinds that the protocol does not carry are InvalidRouteKinds.", "Gateway", Served, "allowed_routes"},
		{"Gateway", "listeners HTTPS: certificateRefs", "TLS 1.2 and 1.3; several certificates, of other namespaces by ReferenceGrant; a request on the wrong connection is answered 421.", "Gateway", Served, "listener_https"},
		{"Gateway", "tls that cannot be: no certificate, Passthrough of HTTP, unknown options", "The listener is not programmed; its conditions name the reference.", "Gateway", Refused, "listener_tls_invalid"},
		{"Gateway", "tls.frontend: client certificates, per port, AllowInsecureFallback", "Checked against the CAs that are named; with AllowInsecureFallback nothing is asked for.", "GatewayFrontendClientCertificateValidation", Served, "gateway_client_validation"},
		{"Gateway", "listeners penstock.dev/Tunnel", "At a hub: the routes of its catalog. `tls` is refused.", "", Served, "hub_tunnel_listener"},
		{"Gateway", "no listener that can be served", "Accepted=False, reason ListenersNotValid.", "Gateway", Refused, "hub_all_listeners_invalid"},
		{"ReferenceGrant", "from, to", "For routes to Backends and Services, for Gateways to Secrets and ConfigMaps; without one a reference says nothing of what another namespace holds.", "ReferenceGrant", Served, "route_backend_refs"},
	}
}

// tlsRouteFeatures are those of TLSRoute.
func tlsRouteFeatures() []Feature {
	return []Feature{
		{"TLSRoute", "hostnames, weights, Passthrough and Terminate", "By server name to Services, beside HTTPS on the same port.", "TLSRouteModeMixed", Served, "tls_passthrough"},
		{"TLSRoute", "Backends, other listeners, references to nothing", "An external name is reached by HTTP, where it can be granted and limited.", "TLSRoute", Refused, "tls_refused"},
	}
}

// policyFeatures are BackendTLSPolicy and XBackendTrafficPolicy.
func policyFeatures() []Feature {
	return []Feature{
		{"BackendTLSPolicy", "Services and ports of them, CAs, subjectAltNames", "The oldest one acts; the Gateway's certificate is shown (tls.backend.clientCertificateRef).", "BackendTLSPolicySANValidation", Served, "policy_backend_tls"},
		{"BackendTLSPolicy", "CAs that are not there, other targets", "A policy that cannot be met closes its Service; nothing is sent in the clear.", "BackendTLSPolicy", Refused, "policy_backend_tls_refused"},
		{"EgressPolicy", "targetRefs Gateway, Backend, XBackend", "Defaults and overrides for all that passes its target.", "", Served, "policy_targets"},
		{"EgressPolicy", "defaults: Route over Backend over Gateway", "The most specific filter of a name runs.", "", Served, "policy_levels"},
		{"EgressPolicy", "overrides: Gateway over Backend", "Nothing below can change it.", "", Served, "policy_overrides"},
		{"EgressPolicy", "RequestGuards of all levels", "A denial at any level wins.", "", Served, "policy_guards"},
		{"EgressPolicy", "two of one level with one filter", "The older one acts, the younger one is Conflicted.", "", Refused, "policy_conflicts"},
		{"EgressPolicy", "filters of unknown type", "They close what they are attached to, unless they may fail open.", "", Refused, "policy_unknown_filter"},
	}
}
