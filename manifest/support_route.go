package manifest

// httpRouteFeatures are those of HTTPRoute.
func httpRouteFeatures() []Feature {
	return []Feature{
		{"HTTPRoute", "matches: path, headers, query parameters, method", "Exact, PathPrefix and RegularExpression (RE2, before prefixes); precedence as the standard says.", "HTTPRouteQueryParamMatching", Served, "route_matches"},
		{"HTTPRoute", "matches that cannot be read", "The rule is dropped, and named in PartiallyInvalid.", "HTTPRoute", Refused, "route_matches_invalid"},
		{"HTTPRoute", "parentRefs: sectionName, port", "Each parent has a status of its own.", "HTTPRouteParentRefPort", Served, "parent_refs"},
		{"HTTPRoute", "filters RequestHeaderModifier, ResponseHeaderModifier, URLRewrite; of backendRefs too", "In this order after the EgressFilters of the rule.", "HTTPRouteResponseHeaderModification", Served, "route_filters"},
		{"HTTPRoute", "filters that touch reserved names, or do not fit", "The rule keeps its matches and answers 500: its requests must not fall to a broader rule.", "HTTPRoute", Refused, "route_filters_refused"},
		{"HTTPRoute", "filter RequestRedirect: scheme, hostname, port, path, 301 to 308", "Answered at the gateway after all checks; of a backendRef too.", "HTTPRoutePortRedirect", Served, "route_redirect"},
		{"HTTPRoute", "RequestRedirect beside backendRefs or URLRewrite", "The rule answers 500.", "HTTPRoute", Refused, "route_redirect_refused"},
		{"HTTPRoute", "filter RequestMirror: several, percent, fraction", "A copy never delays its request, and is given up when its body falls 1 MiB behind.", "HTTPRouteRequestPercentageMirror", Served, "route_mirror"},
		{"HTTPRoute", "RequestMirror to nothing, or to who does not agree", "The copy is left out and ResolvedRefs says why; the rule is served.", "HTTPRouteRequestMirror", Refused, "route_mirror_refused"},
		{"HTTPRoute", "filter CORS", "Preflights are answered here; the fields of the destination are replaced.", "HTTPRouteCORS", Served, "route_cors"},
		{"HTTPRoute", "filter ExtensionRef", "Names an EgressFilter of the own namespace.", "", Served, "route_extension_refs"},
		{"HTTPRoute", "filter ExternalAuth, sessionPersistence", "Refused by name; the rule answers 500.", "", Refused, "route_external_auth"},
		{"HTTPRoute", "backendRefs: weights, references to nothing", "Their share of requests answers 500.", "HTTPRoute", Served, "route_backend_refs"},
		{"HTTPRoute", "timeouts, retry, named rules", "At a spoke in Parent Mode attempts travel to the hub: penstock.dev/RetryDelegated.", "HTTPRouteRetry", Served, "spoke_claim"},
		{"HTTPRoute", "no rule that can be served", "Accepted=False, reason UnsupportedValue.", "HTTPRoute", Refused, "route_all_rules_refused"},
		{"HTTPRoute", "catalog names, at a hub", "A route of an entry's own namespace takes the place of the implicit one.", "", Served, "hub_route_replaces_implicit"},
		{"HTTPRoute", "catalog names of another namespace", "They do not count: reason ForeignCatalogName.", "", Refused, "hub_foreign_catalog_name"},
	}
}

// grpcRouteFeatures are those of GRPCRoute.
func grpcRouteFeatures() []Feature {
	return []Feature{
		{"GRPCRoute", "matches: service, method, headers; filters, backendRefs", "A method of any service stands behind routes that name a service.", "GRPCRouteNamedRouteRule", Served, "grpc_matches"},
		{"GRPCRoute", "matches of nothing, sessionPersistence", "The rule is dropped or answers 500.", "GRPCRoute", Refused, "grpc_refused"},
		{"GRPCRoute", "one hostname with an HTTPRoute on one listener", "The older route stays.", "GRPCRoute", Refused, "grpc_http_conflict"},
	}
}

// backendFeatures are Backend, XBackend and Service as destinations.
func backendFeatures() []Feature {
	return []Feature{
		{"Service", "ports, appProtocol h2c and ws, EndpointSlices", "Spread over the ready endpoints; the Host of the workload stays. None ready: 503.", "HTTPRouteBackendProtocolH2C", Served, "service_endpoints"},
		{"Service", "no port, ExternalName, UDP, another namespace without grant", "That share of requests answers 500.", "HTTPRoute", Refused, "service_refused"},
		{"Backend", "in Endpoint Mode", "Dialed as it is written, without credentials at a spoke.", "", Served, "spoke_endpoint_mode"},
		{"Backend", "the catalog of a hub", "Reached inside tunnels by name, for those that a grant names.", "", Served, "hub_catalog"},
		{"Backend", "timeouts, limits, loop, address policy", "Per Backend and replica.", "", Served, "hub_backend_settings"},
		{"Backend", "tls: modes, CAs, subjectAltNames, client certificates", "As BackendTLSPolicy has it.", "", Served, "hub_backend_tls"},
		{"Backend", "CAs or client certificates that are not there", "It is not served: nothing is sent that its author did not mean.", "", Refused, "hub_backend_tls_missing"},
		{"Backend", "certificates that are past their end", "Degraded=True, reason CertificateExpired.", "", Served, "hub_certificate_expired"},
		{"Backend", "credentials: absent, or not for this host", "Not served.", "", Refused, "hub_credential_refusals"},
		{"Backend", "egress.mirrors", "A Backend with a credential takes copies of requests only if its owner says so.", "", Served, "hub_mirror_credential"},
		{"Backend", "as a claim, at a spoke with a hub", "Resolves to the one granted entry with its hostname and port.", "", Served, "spoke_claim"},
		{"Backend", "a claim that is not granted", "ResolvedRefs=False, reason NotInCatalog.", "", Refused, "spoke_claim_not_in_catalog"},
		{"Backend", "tls of a claim", "TLSOwnedByParent unless it agrees with the entry.", "", Refused, "spoke_claim_tls_owned_by_parent"},
		{"XBackend", "both spellings of the port", "Converted on intake; everything that takes a Backend takes it.", "", Served, "hub_xbackend"},
		{"EgressGrant", "to, from, alias", "Default deny.", "", Served, "hub_grants"},
		{"EgressGrant", "aliases at a spoke", "`http://<alias>/` in the granted namespaces.", "", Served, "spoke_aliases"},
		{"EgressGrant", "aliases on listeners with hostnames", "An alias stands only where its name can come.", "", Served, "spoke_aliases_listener_hostname"},
		{"EgressGrant", "at a spoke, and other kinds of a hub", "Reason NoCatalog: they mean something at a hub only.", "", Refused, "spoke_hub_kinds"},
		{"EgressGrant", "before the hub has spoken", "Nothing is served of a catalog that is not known yet.", "", Served, "spoke_without_view_content"},
	}
}
