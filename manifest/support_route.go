package manifest

// httpRouteFeatures are those of HTTPRoute.
func httpRouteFeatures() []Feature {
	return []Feature{
		{"HTTPRoute", "rules with backendRefs", "One route, one Gateway: the least there is.", "HTTPRoute", Served, "route_simple"},
		{"HTTPRoute", "parentRefs of another namespace", "Where the listener's allowedRoutes let it in.", "HTTPRoute", Served, "route_cross_namespace"},
		{"HTTPRoute", "matches: path, headers, query parameters, method", "All conditions of a match must hold; of two about one name the first counts.", "HTTPRoute", Served, "route_matches"},
		{"HTTPRoute", "matches.path Exact, PathPrefix", "Exact before prefix, the longer prefix before the shorter, whole segments.", "HTTPRoute", Served, "route_paths"},
		{"HTTPRoute", "matches RegularExpression: path, headers, query parameters", "RE2, of the whole value; paths stand behind exact ones and before prefixes.", "", Served, "route_regular_expressions"},
		{"HTTPRoute", "matches.method", "A match with a method goes before one without.", "HTTPRouteMethodMatching", Served, "route_methods"},
		{"HTTPRoute", "matches.headers", "More conditions before fewer.", "HTTPRoute", Served, "route_headers"},
		{"HTTPRoute", "matches.queryParams", "More conditions before fewer, headers before them.", "HTTPRouteQueryParamMatching", Served, "route_query_parameters"},
		{"HTTPRoute", "matches of several routes on one host", "They compete as if they were of one route; the older route wins a tie.", "HTTPRoute", Served, "route_across_routes"},
		{"HTTPRoute", "hostnames", "Those that route and listener share; without any the route is not accepted.", "HTTPRoute", Served, "route_hostname_intersection"},
		{"HTTPRoute", "hostnames of several routes", "The exact one goes before wildcards, the longer wildcard before the shorter.", "HTTPRoute", Served, "route_hostname_precedence"},
		{"HTTPRoute", "matches that cannot be read", "The rule is dropped, and named in PartiallyInvalid.", "HTTPRoute", Refused, "route_matches_invalid"},
		{"HTTPRoute", "parentRefs: sectionName, port", "Each parent has a status of its own.", "HTTPRouteParentRefPort", Served, "parent_refs"},
		{"HTTPRoute", "parentRefs by section, by port, by both", "A route stands on the listeners that it names.", "HTTPRouteParentRefPort", Served, "route_listener_ports"},
		{"HTTPRoute", "parentRefs to several Gateways", "Served by each on its own terms.", "HTTPRoute", Served, "route_several_gateways"},
		{"HTTPRoute", "parentRefs that lead nowhere", "NoMatchingParent or NotAllowedByListeners; the other parents are not touched by it.", "HTTPRoute", Refused, "route_invalid_parents"},
		{"HTTPRoute", "status", "Every condition has the generation it is about.", "HTTPRoute", Served, "route_observed_generation"},
		{"HTTPRoute", "filters RequestHeaderModifier, ResponseHeaderModifier, URLRewrite; of backendRefs too", "In this order after the EgressFilters of the rule.", "HTTPRouteResponseHeaderModification", Served, "route_filters"},
		{"HTTPRoute", "filters that touch reserved names, or do not fit", "The rule keeps its matches and answers 500: its requests must not fall to a broader rule.", "HTTPRoute", Refused, "route_filters_refused"},
		{"HTTPRoute", "filter URLRewrite: hostname, path", "The whole path or the matched prefix.", "HTTPRoutePathRewrite", Served, "route_rewrite"},
		{"HTTPRoute", "filter RequestRedirect: scheme, hostname, port, path, 301 to 308", "Answered at the gateway after all checks; of a backendRef too.", "HTTPRoutePortRedirect", Served, "route_redirect"},
		{"HTTPRoute", "RequestRedirect beside backendRefs or URLRewrite", "The rule answers 500; a route of nothing else is not accepted, reason IncompatibleFilters.", "HTTPRoute", Refused, "route_redirect_refused"},
		{"HTTPRoute", "filter RequestMirror: several, percent, fraction", "A copy never delays its request, and is given up when its body falls 1 MiB behind.", "HTTPRouteRequestPercentageMirror", Served, "route_mirror"},
		{"HTTPRoute", "RequestMirror to nothing, to who does not agree, or around filters", "The copy is left out and ResolvedRefs says why; the rule is served. A Backend with filters of its own or of an EgressPolicy takes no copies: they would go around them.", "HTTPRouteRequestMirror", Refused, "route_mirror_refused"},
		{"HTTPRoute", "filter CORS", "Preflights are answered here; the fields of the destination are replaced.", "HTTPRouteCORS", Served, "route_cors"},
		{"HTTPRoute", "filter ExtensionRef", "Names an EgressFilter of the own namespace.", "", Served, "route_extension_refs"},
		{"HTTPRoute", "filter ExternalAuth, sessionPersistence", "Refused by name; the rule answers 500.", "", Refused, "route_external_auth"},
		{"HTTPRoute", "backendRefs that lead nowhere", "Their share of requests answers 500.", "HTTPRoute", Refused, "route_backend_refs"},
		{"HTTPRoute", "backendRefs.weight, and rules without backendRefs", "Shares of the sum; who has nothing to send to answers 500.", "HTTPRoute", Served, "route_weights"},
		{"HTTPRoute", "timeouts", "Of the request and of each attempt; 0: none.", "HTTPRouteRequestTimeout", Served, "route_timeouts"},
		{"HTTPRoute", "retry: codes, attempts, backoff", "attempts counts repeats; only what is safe to repeat is.", "HTTPRouteRetry", Served, "route_retry"},
		{"HTTPRoute", "retry, and URLRewrite of the hostname, at a spoke with a hub", "Attempts travel to the hub: penstock.dev/RetryDelegated. The host that the destination sees is the hub's business.", "HTTPRouteRetry", Served, "spoke_delegated_retry"},
		{"HTTPRoute", "rules.name", "Shown in every record and by explain.", "HTTPRouteNamedRouteRule", Served, "route_named_rules"},
		{"HTTPRoute", "one rules.name twice", "The second rule answers 500.", "HTTPRouteNamedRouteRule", Refused, "route_names_twice"},
		{"HTTPRoute", "no rule that can be served", "Accepted=False, reason UnsupportedValue.", "HTTPRoute", Refused, "route_all_rules_refused"},
		{"HTTPRoute", "catalog names, at a hub", "A route of an entry's own namespace takes the place of the implicit one.", "", Served, "hub_route_replaces_implicit"},
		{"HTTPRoute", "catalog names of another namespace", "They do not count: reason ForeignCatalogName.", "", Refused, "hub_foreign_catalog_name"},
	}
}

// grpcRouteFeatures are those of GRPCRoute.
func grpcRouteFeatures() []Feature {
	return []Feature{
		{"GRPCRoute", "matches: service, method, headers", "By name or by expression (RE2).", "GRPCRoute", Served, "grpc_matches"},
		{"GRPCRoute", "matches.method: precedence", "Service and method, then the service, then a method of any service.", "GRPCRoute", Served, "grpc_methods"},
		{"GRPCRoute", "matches.headers", "Metadata; more conditions before fewer.", "GRPCRoute", Served, "grpc_headers"},
		{"GRPCRoute", "hostnames", "Those that route and listener share.", "GRPCRoute", Served, "grpc_listener_hostnames"},
		{"GRPCRoute", "backendRefs.weight, rules.name, filters", "As with HTTPRoute: header modifiers, RequestMirror, ExtensionRef.", "GRPCRouteNamedRouteRule", Served, "grpc_weights"},
		{"GRPCRoute", "catalog names, at a hub", "A route of an entry's own namespace takes the place of the implicit one.", "", Served, "hub_grpc_route"},
		{"GRPCRoute", "matches of nothing, sessionPersistence", "The rule is dropped or answers 500.", "GRPCRoute", Refused, "grpc_refused"},
		{"GRPCRoute", "one hostname with an HTTPRoute on one listener", "The older route stays.", "GRPCRoute", Refused, "grpc_http_conflict"},
		{"GRPCRoute", "the same, on one of several listeners", "The route stands on the others; PartiallyInvalid, reason Conflicted.", "GRPCRoute", Served, "grpc_http_partly"},
		{"GRPCRoute", "the same, of one age", "The first by namespace and name stays, whatever its kind.", "GRPCRoute", Refused, "grpc_http_tie"},
	}
}

// backendFeatures are Backend, XBackend and Service as destinations.
func backendFeatures() []Feature {
	return []Feature{
		{"Service", "ports, appProtocol h2c and ws, EndpointSlices", "Spread over the ready endpoints; the Host of the workload stays. None ready: 503.", "HTTPRouteBackendProtocolH2C", Served, "service_endpoints"},
		{"Service", "no port, ExternalName, UDP, another namespace without grant", "That share of requests answers 500.", "HTTPRoute", Refused, "service_refused"},
		{"Backend", "in Endpoint Mode", "Dialed as it is written, without credentials at a spoke.", "", Served, "spoke_endpoint_mode"},
		{"Backend", "the catalog of a hub", "Reached inside tunnels by name, for those that a grant names.", "", Served, "hub_catalog"},
		{"Backend", "protocol", "HTTP, HTTP11, HTTP2, H2C, GRPC, MCP, as far as it goes with tls.", "", Served, "backend_protocols"},
		{"Backend", "two of one destination, with different settings", "penstock.dev/SharedDestination names the other; each serves its own requests only.", "", Served, "hub_shared_destination"},
		{"Backend", "the same, outside of a hub", "Only those of one namespace are told of each other.", "", Served, "backend_shared_destination"},
		{"Backend", "timeouts, limits, loop, address policy", "Per Backend and replica.", "", Served, "hub_backend_settings"},
		{"Backend", "tls: modes, CAs, subjectAltNames, client certificates", "As BackendTLSPolicy has it.", "", Served, "hub_backend_tls"},
		{"Backend", "CAs or client certificates that are not there", "It is not served: nothing is sent that its author did not mean.", "", Refused, "hub_backend_tls_missing"},
		{"Backend", "certificates that are past their end", "Degraded=True, reason CertificateExpired.", "", Served, "hub_certificate_expired"},
		{"Backend", "credentials: absent, or not for this host", "Not served.", "", Refused, "hub_credential_refusals"},
		{"Backend", "egress.mirrors", "A Backend with a credential takes copies of requests only if its owner says so.", "", Served, "hub_mirror_credential"},
		{"Backend", "egress.mirrors, at a spoke with a hub", "The hub says which entries take copies.", "", Served, "spoke_mirrors"},
		{"Backend", "as a claim, at a spoke with a hub", "Resolves to the one granted entry with its hostname and port.", "", Served, "spoke_claim"},
		{"Backend", "a claim that is not granted", "ResolvedRefs=False, reason NotInCatalog.", "", Refused, "spoke_claim_not_in_catalog"},
		{"Backend", "tls of a claim", "TLSOwnedByParent unless it agrees with the entry.", "", Refused, "spoke_claim_tls_owned_by_parent"},
		{"XBackend", "both spellings of the port", "Converted on intake; everything that takes a Backend takes it.", "", Served, "hub_xbackend"},
		{"XBackend", "as a claim, at a spoke with a hub", "As a Backend.", "", Served, "xbackend_claim"},
		{"XBackend", "status.parents", "The Gateways with a route that refers to it; at a hub those with a Tunnel listener too.", "", Served, "xbackend_parents"},
		{"EgressGrant", "to, from, alias", "Default deny.", "", Served, "hub_grants"},
		{"EgressGrant", "aliases at a spoke", "`http://<alias>/` in the granted namespaces.", "", Served, "spoke_aliases"},
		{"EgressGrant", "aliases on listeners with hostnames", "An alias stands only where its name can come.", "", Served, "spoke_aliases_listener_hostname"},
		{"EgressGrant", "aliases of more than one label", "An entry that is called like a host takes no requests for that host; give it an alias.", "", Refused, "spoke_aliases_one_label"},
		{"EgressGrant", "at a spoke, and other kinds of a hub", "Reason NoCatalog: they mean something at a hub only.", "", Refused, "spoke_hub_kinds"},
		{"EgressGrant", "before the hub has spoken", "Nothing is served of a catalog that is not known yet.", "", Served, "spoke_without_view_content"},
	}
}

// referenceFeatures are those of ReferenceGrant for routes.
func referenceFeatures() []Feature {
	return []Feature{
		{"ReferenceGrant", "from routes, to Backends, XBackends and Services", "By kind and namespace, to all of a kind or to one name.", "ReferenceGrant", Served, "reference_grants"},
		{"ReferenceGrant", "what grants nothing", "Wrong namespace, kind or name: RefNotPermitted, whether the target is there or not.", "ReferenceGrant", Refused, "reference_grants_invalid"},
		{"ReferenceGrant", "one of several references", "Only its rule or its share answers 500.", "ReferenceGrant", Served, "reference_partially_permitted"},
	}
}
