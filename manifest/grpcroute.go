package manifest

import (
	"fmt"
	"regexp"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// grpcRule puts in a rule of a GRPCRoute: its filters and backendRefs are those of an HTTPRoute by other names, and
// its matches are of paths "/service/method" (gRPC over HTTP/2, request-headers).
func (k *ruleCheck) grpcRule(r *gwv1.GRPCRouteRule) {
	k.rule = &gwv1.HTTPRouteRule{Name: r.Name, Filters: httpFilters(r.Filters), SessionPersistence: r.SessionPersistence}
	for _, b := range r.BackendRefs {
		k.rule.BackendRefs = append(k.rule.BackendRefs, gwv1.HTTPBackendRef{BackendRef: b.BackendRef, Filters: httpFilters(b.Filters)})
	}
	k.ownMatches = func() []route.Match { return k.grpcMatches(r.Matches) }
}

func httpFilters(list []gwv1.GRPCRouteFilter) (out []gwv1.HTTPRouteFilter) {
	for _, f := range list {
		out = append(out, gwv1.HTTPRouteFilter{
			Type: gwv1.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier, ResponseHeaderModifier: f.ResponseHeaderModifier,
			RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return out
}

func (k *ruleCheck) grpcMatches(all []gwv1.GRPCRouteMatch) []route.Match {
	if len(all) == 0 {
		all = []gwv1.GRPCRouteMatch{{}}
	}
	var out []route.Match
	for i, m := range all {
		field := fmt.Sprintf(".matches[%d]", i)
		r := route.Match{PathType: route.PathPrefix, Path: "/"}
		if m.Method != nil {
			r.PathType, r.Path = k.grpcMethod(field+".method", m.Method)
		}
		for j, h := range m.Headers {
			r.Headers = k.valueMatch(fmt.Sprintf("%s.headers[%d]", field, j), r.Headers, string(h.Name), h.Value, string(deref(h.Type, gwv1.GRPCHeaderMatchExact)), strings.EqualFold)
		}
		out = append(out, r)
	}
	return out
}

// The names of a service, with its package, and of a method: identifiers of the protocol buffers language. A path is made
// of them, so that nothing else may pass.
var (
	grpcServiceName = regexp.MustCompile(`^(\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*)?$`)
	grpcMethodName  = regexp.MustCompile(`^([A-Za-z_][A-Za-z_0-9]*)?$`)
)

// grpcMethod makes a path of a method match.
func (k *ruleCheck) grpcMethod(field string, m *gwv1.GRPCMethodMatch) (route.PathType, string) {
	service, method := deref(m.Service, ""), deref(m.Method, "")
	if service == "" && method == "" {
		k.invalid(field, fault{ReasonUnsupportedValue, "names neither service nor method", "name one of the two, or remove the match"})
		return route.PathPrefix, "/"
	}
	switch deref(m.Type, gwv1.GRPCMethodMatchExact) {
	case gwv1.GRPCMethodMatchExact:
		const remedy = `write e.g. service "shop.v1.Cart" and method "Add"`
		if !grpcServiceName.MatchString(service) {
			k.invalid(field+".service", fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no name of a service", clip(service)), remedy})
		}
		if !grpcMethodName.MatchString(method) {
			k.invalid(field+".method", fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no name of a method", clip(method)), remedy})
		}
		switch {
		case method == "":
			return route.PathPrefix, "/" + service
		case service == "":
			return route.PathMethod, method
		}
		return route.PathExact, "/" + service + "/" + method
	case gwv1.GRPCMethodMatchRegularExpression:
		k.checkExpression(field+".service", service)
		k.checkExpression(field+".method", method)
		path := "/" + anyOr(service) + "/" + anyOr(method)
		if k.first.ok() { // both are good; together they may be too large
			k.checkExpression(field, path)
		}
		return route.PathRegex, path
	}
	k.invalid(field+".type", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no match %q", clip(string(*m.Type))), "use Exact or RegularExpression"})
	return route.PathPrefix, "/"
}

// anyOr is an expression for one segment: the given one, in brackets, or any.
func anyOr(expr string) string {
	if expr == "" {
		return "[^/]+"
	}
	return "(?:" + expr + ")"
}
