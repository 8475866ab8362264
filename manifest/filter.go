package manifest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	kjson "sigs.k8s.io/json"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
)

// compileFilter turns a filter as written into the form the data plane runs, or says why not. CredentialInjector is not
// for here: credentialOf reads it, and only from a Backend.
func compileFilter(f penstockv1alpha1.Filter, from string) (route.Filter, fault) {
	def, ok := builtin(f.Type)
	if !ok {
		return route.Filter{}, fault{
			ReasonUnknownFilterType, fmt.Sprintf("no filter has the type %q", clip(f.Type)),
			"use one of " + strings.Join(builtinTypes(), ", "),
		}
	}
	if def.filterType == route.FilterCredentialInjector {
		return route.Filter{}, fault{ReasonInvalidFilter, "a credential can be bound by a Backend only", "move the filter to spec.egress.filters of the Backend"}
	}
	phase := def.phases[0]
	if f.Phase != "" {
		phase = route.Phase(f.Phase)
	}
	if !slices.Contains(def.phases, phase) {
		return route.Filter{}, fault{
			ReasonInvalidFilter, fmt.Sprintf("%s does not run in phase %q", f.Type, clip(string(phase))),
			fmt.Sprintf("use one of %s", joinPhases(def.phases)),
		}
	}
	out := route.Filter{
		Name: f.Name, Type: f.Type, Phase: phase, Priority: int(f.Priority), FailOpen: f.FailOpen, From: from,
	}
	var config []byte
	if f.Config != nil {
		config = f.Config.Raw
	}
	if bad := def.compile(config, &out); !bad.ok() {
		return route.Filter{}, bad
	}
	return out, fault{}
}

func joinPhases(ps []route.Phase) string {
	var names []string
	for _, p := range ps {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// decodeConfig reads a filter's config strictly.
func decodeConfig(config []byte, into any) fault {
	if len(config) == 0 {
		return fault{ReasonInvalidFilter, "config is missing", "write what the filter shall do"}
	}
	strict, err := kjson.UnmarshalStrict(config, into)
	if err != nil {
		return fault{ReasonInvalidFilter, "config has a value of the wrong type", "see the configSchema of its FilterDefinition"}
	}
	if len(strict) > 0 {
		return fault{ReasonInvalidFilter, "config: " + clip(firstLine(strict[0].Error())), "see the configSchema of its FilterDefinition"}
	}
	return fault{}
}

func compileHeaderModifier(config []byte, out *route.Filter) fault {
	out.Headers = &route.HeaderModifier{}
	if bad := decodeConfig(config, out.Headers); !bad.ok() {
		return bad
	}
	return checkHeaderModifier(out.Headers)
}

// checkHeaderModifier keeps rules off names that are not theirs: T-A7 wants that no configurable rule can add, change or
// delete a reserved name; Connection and its kin belong to the connection and could nominate one.
func checkHeaderModifier(m *route.HeaderModifier) fault {
	if len(m.Set)+len(m.Add)+len(m.Remove) == 0 {
		return fault{ReasonInvalidFilter, "changes no header", "give at least one of set, add and remove"}
	}
	for _, h := range slices.Concat(m.Set, m.Add) {
		if bad := checkHeaderName(h.Name); !bad.ok() {
			return bad
		}
		if !httpguts.ValidHeaderFieldValue(h.Value) {
			return fault{ReasonInvalidFilter, fmt.Sprintf("the value for header %q has characters that no header may carry", clip(h.Name)), "remove line breaks and control characters"}
		}
	}
	for _, name := range m.Remove {
		if bad := checkHeaderName(name); !bad.ok() {
			return bad
		}
	}
	return fault{}
}

func checkHeaderName(name string) fault {
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fault{ReasonInvalidFilter, fmt.Sprintf("%q is no header name", clip(name)), "use letters, digits and '-'"}
	case hop.Reserved(name):
		return fault{ReasonReservedName, fmt.Sprintf("the header %q belongs to the gateways", clip(name)), "leave it alone"}
	case connectionHeader(name):
		return fault{ReasonReservedName, fmt.Sprintf("the header %q belongs to the connection", clip(name)), "leave it alone; the host is set by the Backend or by URLRewrite"}
	}
	return fault{}
}

// connectionHeader names what each hop writes for itself (RFC 9110 §7.6.1, RFC 9112 §6) and Host, which decides where a
// credential goes and so comes from the Backend alone.
func connectionHeader(name string) bool {
	switch http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-")) {
	case "Host", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length":
		return true
	}
	return false
}

func compileURLRewrite(config []byte, out *route.Filter) fault {
	out.Rewrite = &route.URLRewrite{}
	if bad := decodeConfig(config, out.Rewrite); !bad.ok() {
		return bad
	}
	return checkURLRewrite(out.Rewrite)
}

func checkURLRewrite(w *route.URLRewrite) fault {
	if w.Hostname == "" && w.FullPath == nil && w.PrefixPath == nil {
		return fault{ReasonInvalidFilter, "rewrites nothing", "give a hostname or a path"}
	}
	if w.FullPath != nil && w.PrefixPath != nil {
		return fault{ReasonInvalidFilter, "replaces the full path and a prefix", "keep one of the two"}
	}
	if w.Hostname != "" {
		if bad := checkDNSName(w.Hostname); !bad.ok() {
			return fault{ReasonInvalidFilter, bad.message, bad.remedy}
		}
		if under(w.Hostname, internalDomain) || under(w.Hostname, "clusterset.local") {
			return fault{ReasonReservedName, fmt.Sprintf("the host %q belongs to the gateways", w.Hostname), "name a host outside"}
		}
	}
	for _, p := range []*string{w.FullPath, w.PrefixPath} {
		if p == nil || (p == w.PrefixPath && *p == "") {
			continue
		}
		if bad := checkPath(*p); !bad.ok() {
			return bad
		}
	}
	return fault{}
}

func checkPath(p string) fault {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fault{ReasonInvalidFilter, fmt.Sprintf("the path %q does not begin with '/'", clip(p)), `write e.g. "/v1"`}
	case strings.ContainsAny(p, "?#\\") || strings.ContainsFunc(p, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return fault{ReasonInvalidFilter, fmt.Sprintf("the path %q has characters that no path may have", clip(p)), "write the path alone, percent-encoded"}
	}
	return fault{}
}

func compileRequestGuard(config []byte, out *route.Filter) fault {
	g := &route.RequestGuard{}
	out.Guard = g
	if bad := decodeConfig(config, g); !bad.ok() {
		return bad
	}
	if len(g.AllowMethods)+len(g.AllowPaths)+len(g.DenyPaths) == 0 {
		return fault{ReasonInvalidFilter, "refuses nothing", "give at least one of allowMethods, allowPaths and denyPaths"}
	}
	for _, m := range g.AllowMethods {
		if !httpguts.ValidHeaderFieldName(m) || m != strings.ToUpper(m) {
			return fault{ReasonInvalidFilter, fmt.Sprintf("%q is no method", clip(m)), `methods are case-sensitive; write e.g. "GET"`}
		}
	}
	for _, p := range slices.Concat(g.AllowPaths, g.DenyPaths) {
		if bad := checkPath(p); !bad.ok() {
			return bad
		}
	}
	return fault{}
}

// credentialConfig is the config of CredentialInjector.
type credentialConfig struct {
	CredentialRef struct {
		Name string `json:"name"`
	} `json:"credentialRef"`
}
