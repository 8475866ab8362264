// Package filter runs the built-in filters of a request: HeaderModifier and URLRewrite, in the order and phase that
// package route compiled. Beside them stand the pure parts of what package gateway does with a route by itself: where a
// redirect leads, and what CORS says.
//
// A RequestGuard is judged by route.Decide, before anything runs, so that `penstock explain` gives the same answer; a
// CredentialInjector is the last step of gateway/endpoint; RequestMirror and CORS are steps of gateway. All four are passed
// over here.
//
// No filter can reach a name that hop owns, nor one that frames the message or belongs to one connection (THREATS
// T-A7): a filter that tries fails, and fails closed unless it may fail open. A filter that fails has changed nothing.
//
// The package knows neither routes nor next hops: read route for the order, gateway for when each phase runs.
package filter
