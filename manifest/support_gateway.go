package manifest

// gatewayFeatures are GatewayClass, Gateway and its listeners, ReferenceGrant.
func gatewayFeatures() []Feature { return nil }

// tlsRouteFeatures are those of TLSRoute.
func tlsRouteFeatures() []Feature { return nil }

// policyFeatures are BackendTLSPolicy and XBackendTrafficPolicy.
func policyFeatures() []Feature { return nil }
