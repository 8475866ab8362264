// Package manifest turns what users write into what gateways serve: bytes to typed objects (Parse), objects to one
// consistent Set, a Set to a route.Snapshot and a Report (Translate). Translate is the pure core: no clock, no network,
// no logger, the same bytes out for the same bytes in.
//
// It does not know where manifests come from (read manifest/file, manifest/feed), how a request is matched (read
// gateway/route), nor how a destination is dialed (read gateway/endpoint). It holds no state between calls.
//
// # One faulty object
//
// A faulty document or object costs only itself: it is reported, with file, line, object, field and remedy, and left
// out; the rest is served. What would be opened by leaving something out is closed instead:
//
//   - a rule with a filter that cannot run keeps its matches and answers 500, so that its requests do not fall to a
//     broader rule without the filter;
//   - an EgressPolicy or EgressFilter with a faulty filter closes what it is attached to, unless the filter says
//     failOpen; its other objects go on;
//   - a Backend whose CA bundle, client certificate or credential is missing is not served at all.
//
// # Hub and spoke
//
// Options says where a set is translated; there is no other difference. With Catalog (a hub) Backends are the catalog:
// each is reachable inside tunnels as <name>.<namespace>.svc.clusterset.local, by a rule of its own unless an HTTPRoute of
// its namespace answers for that name, and only for callers that an EgressGrant names. With View (a spoke that has a hub)
// Backends are claims: each resolves to the one granted entry with its hostname and port; and each granted entry gets
// its aliases on the Gateway penstock-system/egress. With neither, Backends are dialed.
//
// # Filters of several levels
//
// Filters come from EgressPolicies on Gateways and Backends, from Backends and from EgressFilters that routes point at.
// Of filters with the same name and type at different levels one runs: an override of the Gateway's, then of the
// Backend's; then the route's, the Backend's own, a default of a policy on the Backend, on the Gateway. Of two at one
// level the older object's runs (origin creation time, then namespace and name; without a time: youngest). RequestGuards
// never compete: a denial at any level wins.
//
// The winners of all levels stand in Target.Filters of each rule, sorted by phase, then priority, then level (defaults
// from the outside in, then overrides from the inside out, so that the last word is the Gateway's), then name.
// Rule.Filters and Backend.Filters stay empty: which filters run depends on the pair of both.
package manifest
