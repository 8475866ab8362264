package manifest

// httpRouteFeatures are those of HTTPRoute.
func httpRouteFeatures() []Feature { return nil }

// grpcRouteFeatures are those of GRPCRoute.
func grpcRouteFeatures() []Feature { return nil }

// backendFeatures are Backend, XBackend and Service as destinations.
func backendFeatures() []Feature { return nil }
