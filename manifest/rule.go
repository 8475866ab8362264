package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/gateway/route"
)

// defaultRetryAttempts are the retries of a rule that asks for retries without a number: A is 3 tries (HOPS-AND-RETRIES).
const defaultRetryAttempts = 2

// ruleCheck compiles one rule of a route for one Gateway. The rules of other kinds than HTTPRoute come in the form of an
// HTTPRoute's, with matches of their own.
type ruleCheck struct {
	t     *translation
	o     *Object
	g     *gateway
	c     *conditions // of the route at this parent
	rule  *gwv1.HTTPRouteRule
	field string
	index int
	// nameTaken: a rule before this one has its name, which must be unique in a route.
	nameTaken bool
	// ownMatches compiles the matches of a kind that is no HTTPRoute.
	ownMatches func() []route.Match

	first fault  // why the rule cannot be served as written
	text  string // the same as a condition shows it
}

// invalid notes that the rule cannot be served as written.
func (k *ruleCheck) invalid(sub string, f fault) {
	p := k.o.Problem(k.field+sub, f.reason, f.message, f.remedy)
	k.t.findings = append(k.t.findings, p)
	if k.first.ok() {
		k.first, k.text = f, p.text()
	}
}

// unresolved notes a reference that leads nowhere: ResolvedRefs, not Accepted, and this share of requests answers 500.
func (k *ruleCheck) unresolved(sub string, f fault) {
	k.t.report(k.o, k.c, ConditionResolvedRefs, k.field+sub, f)
}

// compile returns the rule; not if its matches cannot be read.
func (k *ruleCheck) compile() (route.Rule, bool) {
	out := route.Rule{
		Route:   route.Ref{Kind: k.o.ID.Kind, Namespace: k.o.ID.Namespace, Name: k.o.ID.Name},
		Name:    ruleName(k.rule, k.index),
		Created: k.o.Created,
	}
	compileMatches := k.matches
	if k.ownMatches != nil {
		compileMatches = k.ownMatches
	}
	if out.Matches = compileMatches(); !k.first.ok() {
		return route.Rule{}, false
	}
	if k.nameTaken {
		k.invalid(".name", fault{ReasonUnsupportedValue, fmt.Sprintf("the name %q is there twice", clip(out.Name)), "give each rule a name of its own"})
	}
	out.Timeouts = k.timeouts()
	out.Retry = k.retry()
	if k.rule.SessionPersistence != nil {
		k.invalid(".sessionPersistence", fault{ReasonUnsupportedValue, "is not served yet", "remove the field"})
	}
	out.Targets = k.targets(k.filters(".filters", k.rule.Filters, k.o.ID.Kind+" "+k.o.ID.Key()))
	if !k.first.ok() {
		out.Targets = []route.Target{{Weight: 1, Invalid: k.first.reason + ": " + k.first.message}}
		out.Timeouts, out.Retry = route.Timeouts{}, nil
	}
	return out, true
}

// matches writes the default out: every match has a path, so that a prefix can be replaced.
func (k *ruleCheck) matches() []route.Match {
	all := k.rule.Matches
	if len(all) == 0 {
		all = []gwv1.HTTPRouteMatch{{}}
	}
	var out []route.Match
	for i, m := range all {
		field := fmt.Sprintf(".matches[%d]", i)
		r := route.Match{PathType: route.PathPrefix, Path: "/", Method: string(deref(m.Method, ""))}
		if m.Path != nil {
			r.PathType = route.PathType(deref(m.Path.Type, gwv1.PathMatchPathPrefix))
			r.Path = deref(m.Path.Value, "/")
			k.checkPathMatch(field+".path", r.PathType, r.Path)
		}
		if r.Method != "" && !httpguts.ValidHeaderFieldName(r.Method) {
			k.invalid(field+".method", fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no method", clip(r.Method)), `write e.g. "GET"`})
		}
		for j, h := range m.Headers {
			name := string(h.Name)
			r.Headers = k.valueMatch(fmt.Sprintf("%s.headers[%d]", field, j), r.Headers, name, h.Value, string(deref(h.Type, gwv1.HeaderMatchExact)), strings.EqualFold)
		}
		for j, q := range m.QueryParams {
			r.Query = k.valueMatch(fmt.Sprintf("%s.queryParams[%d]", field, j), r.Query, string(q.Name), q.Value, string(deref(q.Type, gwv1.QueryParamMatchExact)), func(a, b string) bool { return a == b })
		}
		out = append(out, r)
	}
	return out
}

func (k *ruleCheck) checkPathMatch(field string, kind route.PathType, path string) {
	switch kind {
	case route.PathRegex:
		k.checkExpression(field+".value", path)
	case route.PathExact, route.PathPrefix:
		if _, err := route.CleanPath(path); err != nil || path == "" {
			k.invalid(field+".value", fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no path", clip(path)), `write e.g. "/v1", without dot segments`})
		}
	default:
		k.invalid(field+".type", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no path match %q", clip(string(kind))), "use Exact, PathPrefix or RegularExpression"})
	}
}

// checkExpression judges an RE2 expression as the table will compile it: alone, and between brackets that make it match
// a whole value. What is good alone may be bad there (`\Qx` quotes the closing bracket too), and a table with one
// expression that does not compile is refused as a whole.
func (k *ruleCheck) checkExpression(field, expr string) {
	_, err := regexp.Compile(expr)
	if err == nil {
		_, err = regexp.Compile(`\A(?:` + expr + `)\z`)
	}
	if err != nil {
		k.invalid(field, fault{ReasonUnsupportedValue, "is no RE2 expression: " + clip(err.Error()), "correct the expression"})
	}
}

// valueMatch adds a header or query condition. Of conditions with equivalent names only the first counts (Gateway API).
func (k *ruleCheck) valueMatch(field string, list []route.ValueMatch, name, value, kind string, same func(a, b string) bool) []route.ValueMatch {
	m := route.ValueMatch{Name: name, Value: value, Regex: kind == "RegularExpression"}
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		k.invalid(field+".name", fault{ReasonUnsupportedValue, fmt.Sprintf("%q is no name", clip(name)), "use letters, digits and '-'"})
	case m.Regex:
		k.checkExpression(field+".value", value)
	case kind != "Exact":
		k.invalid(field+".type", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no match %q", clip(kind)), "use Exact or RegularExpression"})
	}
	if slices.ContainsFunc(list, func(old route.ValueMatch) bool { return same(old.Name, name) }) {
		return list
	}
	return append(list, m)
}

func (k *ruleCheck) timeouts() route.Timeouts {
	s := k.rule.Timeouts
	if s == nil {
		return route.Timeouts{}
	}
	read := func(field string, d *gwv1.Duration) *time.Duration {
		if d == nil {
			return nil
		}
		v, bad := parseDuration(*d)
		if !bad.ok() {
			k.invalid(".timeouts."+field, bad)
		}
		return &v
	}
	out := route.Timeouts{Request: read("request", s.Request), BackendRequest: read("backendRequest", s.BackendRequest)}
	if out.Request != nil && out.BackendRequest != nil && *out.Request != 0 && *out.BackendRequest > *out.Request {
		k.invalid(".timeouts.backendRequest", fault{ReasonUnsupportedValue, "is longer than timeouts.request", "shorten it"})
	}
	return out
}

func (k *ruleCheck) retry() *route.Retry {
	s := k.rule.Retry
	if s == nil {
		return nil
	}
	out := &route.Retry{Attempts: deref(s.Attempts, defaultRetryAttempts)}
	if out.Attempts < 0 {
		k.invalid(".retry.attempts", fault{ReasonUnsupportedValue, fmt.Sprintf("%d is no number of retries", out.Attempts), "use 0 or more"})
	}
	for i, code := range s.Codes {
		if code < 400 || code > 599 {
			k.invalid(fmt.Sprintf(".retry.codes[%d]", i), fault{ReasonUnsupportedValue, fmt.Sprintf("%d is no error status", code), "use 400 to 599"})
		}
		out.Codes = append(out.Codes, int(code))
	}
	slices.Sort(out.Codes)
	out.Codes = slices.Compact(out.Codes)
	if s.Backoff != nil {
		v, bad := parseDuration(*s.Backoff)
		if !bad.ok() {
			k.invalid(".retry.backoff", bad)
		}
		out.Backoff = v
	}
	return out
}

// ruleFilters are the filters of a rule or of one backendRef.
type ruleFilters struct {
	inline   []route.Filter // the Gateway API's own
	refs     []ID           // EgressFilters that ExtensionRefs point at
	redirect *route.Redirect
}

// filters compiles the Gateway API's filters and collects the EgressFilters that ExtensionRefs point at. A mirror whose
// Backend cannot be used is left out (HTTPRequestMirrorFilter); any other filter that cannot run closes the rule.
func (k *ruleCheck) filters(field string, list []gwv1.HTTPRouteFilter, from string) (out ruleFilters) {
	seen := map[gwv1.HTTPRouteFilterType]int{}
	for i, f := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		seen[f.Type]++
		if seen[f.Type] > 1 && !slices.Contains(repeatable, f.Type) {
			k.invalid(at+".type", fault{string(gwv1.RouteReasonIncompatibleFilters), fmt.Sprintf("%s is there twice", clip(string(f.Type))), "join the two"})
		}
		switch f.Type {
		case gwv1.HTTPRouteFilterExtensionRef:
			if id, ok := k.extension(at, f.ExtensionRef); ok {
				out.refs = append(out.refs, id)
			}
			continue
		case gwv1.HTTPRouteFilterRequestRedirect:
			var bad fault
			if out.redirect, bad = k.redirect(f.RequestRedirect); !bad.ok() {
				k.invalid(at, bad)
			}
			continue
		case gwv1.HTTPRouteFilterRequestMirror:
			if mirror, ok := k.mirror(at, f.RequestMirror); ok {
				mirror.Name, mirror.From = fmt.Sprintf("%s[%d]", f.Type, i), from
				out.inline = append(out.inline, mirror)
			}
			continue
		}
		compiled, bad := k.inlineFilter(f)
		if !bad.ok() {
			k.invalid(at, bad)
			continue
		}
		compiled.Name, compiled.From = string(f.Type), from
		out.inline = append(out.inline, compiled)
	}
	if out.redirect != nil && seen[gwv1.HTTPRouteFilterURLRewrite] > 0 {
		k.invalid(field, fault{string(gwv1.RouteReasonIncompatibleFilters), "RequestRedirect and URLRewrite exclude each other", "keep one of the two"})
	}
	return out
}

// repeatable filters may stand in a rule several times.
var repeatable = []gwv1.HTTPRouteFilterType{gwv1.HTTPRouteFilterExtensionRef, gwv1.HTTPRouteFilterRequestMirror}

// missingContent is a filter of which only the type is there.
func missingContent(t gwv1.HTTPRouteFilterType) fault {
	return fault{ReasonUnsupportedValue, fmt.Sprintf("the content of %s is missing", clip(string(t))), "write what the filter shall do"}
}

// inlineFilter compiles a filter of the Gateway API.
func (k *ruleCheck) inlineFilter(f gwv1.HTTPRouteFilter) (route.Filter, fault) {
	switch {
	case f.Type == gwv1.HTTPRouteFilterRequestHeaderModifier && f.RequestHeaderModifier != nil:
		return headerFilter(f.RequestHeaderModifier, route.PhaseRequestHeaders)
	case f.Type == gwv1.HTTPRouteFilterResponseHeaderModifier && f.ResponseHeaderModifier != nil:
		return headerFilter(f.ResponseHeaderModifier, route.PhaseResponseHeaders)
	case f.Type == gwv1.HTTPRouteFilterURLRewrite && f.URLRewrite != nil:
		return k.rewriteFilter(f.URLRewrite)
	case f.Type == gwv1.HTTPRouteFilterCORS && f.CORS != nil:
		return corsFilter(f.CORS)
	case slices.Contains(servedFilters, f.Type):
		return route.Filter{}, missingContent(f.Type)
	}
	return route.Filter{}, fault{ReasonUnsupportedValue, fmt.Sprintf("filter %s is not served yet", clip(string(f.Type))), "use another filter, or an EgressFilter by ExtensionRef"}
}

var servedFilters = []gwv1.HTTPRouteFilterType{
	gwv1.HTTPRouteFilterRequestHeaderModifier, gwv1.HTTPRouteFilterResponseHeaderModifier, gwv1.HTTPRouteFilterURLRewrite,
	gwv1.HTTPRouteFilterCORS,
}

func headerFilter(f *gwv1.HTTPHeaderFilter, phase route.Phase) (route.Filter, fault) {
	m := &route.HeaderModifier{Remove: slices.Clone(f.Remove)}
	for _, h := range f.Set {
		m.Set = append(m.Set, route.Header{Name: string(h.Name), Value: h.Value})
	}
	for _, h := range f.Add {
		m.Add = append(m.Add, route.Header{Name: string(h.Name), Value: h.Value})
	}
	return route.Filter{Type: route.FilterHeaderModifier, Phase: phase, Headers: m}, asUnsupported(checkHeaderModifier(m))
}

func (k *ruleCheck) rewriteFilter(f *gwv1.HTTPURLRewriteFilter) (route.Filter, fault) {
	w := &route.URLRewrite{Hostname: string(deref(f.Hostname, ""))}
	if f.Path != nil {
		var bad fault
		if w.FullPath, w.PrefixPath, bad = k.pathModifier(f.Path); !bad.ok() {
			return route.Filter{}, bad
		}
	}
	if w.Hostname != "" && k.g.mode == modeParent {
		return route.Filter{}, fault{ReasonUnsupportedValue, "the host that the destination sees is the hub's business", "rewrite the hostname in a route of the hub"}
	}
	return route.Filter{Type: route.FilterURLRewrite, Phase: route.PhaseRequestHeaders, Rewrite: w}, asUnsupported(checkURLRewrite(w))
}

// asUnsupported gives a filter fault the reason the Gateway API has for it; reserved names keep theirs.
func asUnsupported(f fault) fault {
	if f.reason == ReasonInvalidFilter {
		f.reason = ReasonUnsupportedValue
	}
	return f
}

// extension resolves an ExtensionRef. A filter that is not there must not be skipped (Gateway API): the rule answers 500.
func (k *ruleCheck) extension(field string, ref *gwv1.LocalObjectReference) (ID, bool) {
	var bad fault
	var id ID
	switch {
	case ref == nil:
		bad = fault{ReasonUnsupportedValue, "extensionRef is missing", "name an EgressFilter"}
	case string(ref.Group) != groupPenstock || ref.Kind != "EgressFilter":
		bad = fault{ReasonInvalidKind, fmt.Sprintf("%s of group %q is no filter", clip(string(ref.Kind)), clip(string(ref.Group))), "name an EgressFilter of " + groupPenstock}
	default:
		id = ID{Group: groupPenstock, Kind: "EgressFilter", Namespace: k.o.ID.Namespace, Name: string(ref.Name)}
		if k.t.set.find(id) != nil {
			return id, true
		}
		bad = fault{ReasonFilterNotFound, fmt.Sprintf("there is no EgressFilter %s/%s", id.Namespace, clip(id.Name)), "create it beside the route"}
	}
	k.unresolved(field+".extensionRef", bad)
	k.invalid(field+".extensionRef", bad)
	return ID{}, false
}

// targets compiles the backendRefs, each with all filters that run for it. A rule that redirects needs none.
func (k *ruleCheck) targets(of ruleFilters) []route.Target {
	if of.redirect != nil {
		if len(k.rule.BackendRefs) > 0 {
			k.invalid(".backendRefs", fault{ReasonUnsupportedValue, "a rule that redirects sends nothing on", "remove the backendRefs, or the RequestRedirect"})
		}
		return []route.Target{k.target(route.Target{Weight: 1, Redirect: of.redirect}, nil, of)}
	}
	var out []route.Target
	for i, ref := range k.rule.BackendRefs {
		field := fmt.Sprintf(".backendRefs[%d]", i)
		target := route.Target{Weight: int(deref(ref.Weight, 1))}
		if target.Weight < 0 || target.Weight > 1_000_000 {
			k.invalid(field+".weight", fault{ReasonUnsupportedValue, fmt.Sprintf("%d is no weight", target.Weight), "use 0 to 1000000"})
		}
		own := k.filters(field+".filters", ref.Filters, fmt.Sprintf("%s %s backendRef %d", k.o.ID.Kind, k.o.ID.Key(), i))
		for j := range own.inline {
			own.inline[j].Name = fmt.Sprintf("backendRefs[%d].%s", i, own.inline[j].Name)
		}
		all := ruleFilters{inline: slices.Concat(of.inline, own.inline), refs: slices.Concat(of.refs, own.refs)}
		if own.redirect != nil {
			target.Redirect = own.redirect
			out = append(out, k.target(target, nil, all))
			continue
		}
		backend, id, bad := k.resolve(ref.BackendObjectReference)
		if !bad.ok() {
			k.unresolved(field, bad)
			target.Invalid = bad.reason + ": " + bad.message
			out = append(out, target)
			continue
		}
		target.Backend = backend.Key
		out = append(out, k.target(target, k.t.layers[id], all))
	}
	return out
}

// target gives a target the filters of all levels.
func (k *ruleCheck) target(target route.Target, backend *layer, of ruleFilters) route.Target {
	target.Filters, target.Invalid = k.t.mergeLevels(k.t.layers[k.g.ID], backend, of.refs, of.inline)
	if target.Invalid != "" {
		target.Backend, target.Redirect = "", nil
	}
	return target
}

// resolve finds the destination of a backendRef.
func (k *ruleCheck) resolve(ref gwv1.BackendObjectReference) (*route.Backend, ID, fault) {
	group, kind := string(deref(ref.Group, "")), string(deref(ref.Kind, "Service"))
	namespace := string(deref(ref.Namespace, gwv1.Namespace(k.o.ID.Namespace)))
	id, ok := backendID(group, kind, namespace, string(ref.Name))
	service := group == "" && kind == "Service"
	if service {
		id = ID{Kind: "Service", Namespace: namespace, Name: string(ref.Name)}
	} else if !ok || group == "" || k.o.ID.Kind == "TLSRoute" {
		return nil, ID{}, fault{
			ReasonInvalidKind, fmt.Sprintf("%s of group %q is no destination", clip(kind), clip(group)),
			k.destinations(),
		}
	}
	// The grant comes before existence, so that a reference does not tell what another namespace holds.
	if namespace != k.o.ID.Namespace && !k.t.permitted(k.o.ID, id) {
		return nil, ID{}, fault{
			ReasonRefNotPermitted, fmt.Sprintf("namespace %s does not let %ss of %s use %s %s", clip(namespace), k.o.ID.Kind, k.o.ID.Namespace, kind, clip(id.Name)),
			fmt.Sprintf("ask for a ReferenceGrant in namespace %s", clip(namespace)),
		}
	}
	if service {
		backend, bad := k.t.service(id, ref.Port, k.o.ID.Kind, k.g)
		return backend, id, bad
	}
	k.t.usedBy(id, k.g)
	d := k.t.direct[id]
	if k.g.mode == modeParent {
		d = k.t.claims[id]
	}
	switch {
	case d == nil:
		return nil, ID{}, fault{ReasonBackendNotFound, fmt.Sprintf("there is no %s %s/%s", kind, clip(namespace), clip(id.Name)), "create it, or correct the name"}
	case d.fault.reason == ReasonNotInCatalog || d.fault.reason == ReasonTLSOwnedByParent:
		return nil, ID{}, fault{d.fault.reason, fmt.Sprintf("%s: %s", id, d.fault.message), d.fault.remedy}
	case !d.fault.ok():
		return nil, ID{}, fault{ReasonBackendRefused, fmt.Sprintf("%s is not accepted: %s", id, d.fault.reason), "see the conditions of the Backend"}
	}
	if ref.Port != nil {
		if b := k.t.set.find(id); b != nil && backendPort(b) != *ref.Port {
			return nil, ID{}, fault{ReasonUnsupportedValue, fmt.Sprintf("port %d is not the port of %s", *ref.Port, id), "leave the port out"}
		}
	}
	return &d.backend, id, fault{}
}

// destinations are the kinds that a backendRef may name.
func (k *ruleCheck) destinations() string {
	if k.o.ID.Kind == "TLSRoute" {
		return "use a Service"
	}
	return fmt.Sprintf("use Backend of %s, XBackend of %s, or a Service", groupPenstock, groupGatewayX)
}
