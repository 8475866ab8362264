package cli

import "strings"

// kindName is a kind as people type it.
type kindName struct {
	kind, short   string
	clusterScoped bool
}

// kindNames are the kinds whose short names and plurals are understood, and those that have no namespace. Other kinds
// are typed as manifests write them; the hub says whether it knows them.
var kindNames = []kindName{
	{kind: "Backend", short: "be"},
	{kind: "Cluster", short: "pcl", clusterScoped: true},
	{kind: "ConfigMap", short: "cm"},
	{kind: "Credential", short: "cred"},
	{kind: "EgressFilter", short: "ef"},
	{kind: "EgressGrant", short: "eg"},
	{kind: "EgressPolicy", short: "ep"},
	{kind: "FilterDefinition", clusterScoped: true},
	{kind: "Gateway", short: "gtw"},
	{kind: "GatewayClass", short: "gc", clusterScoped: true},
	{kind: "GatewayConfig", short: "gwc"},
	{kind: "HTTPRoute"},
	{kind: "Namespace", short: "ns", clusterScoped: true},
	{kind: "ReferenceGrant", short: "refgrant"},
	{kind: "Secret"},
	{kind: "Service", short: "svc"},
	{kind: "XBackend"},
}

// lookupKind finds a kind by name, plural or short name, in any case, with or without its group.
func lookupKind(typed string) kindName {
	name, _, _ := strings.Cut(strings.ToLower(typed), ".")
	for _, k := range kindNames {
		kind := strings.ToLower(k.kind)
		if name == kind || name == plural(kind) || (name == k.short && k.short != "") {
			return k
		}
	}
	return kindName{kind: typed}
}

func plural(kind string) string {
	switch {
	case strings.HasSuffix(kind, "s"):
		return kind + "es"
	case strings.HasSuffix(kind, "y") && !strings.HasSuffix(kind, "ay"):
		return strings.TrimSuffix(kind, "y") + "ies"
	}
	return kind + "s"
}

// defaultNamespace is where an object is looked for when nothing names its namespace, as kubectl has it.
const defaultNamespace = "default"

// objectRef is an object as it is typed: KIND NAME, KIND NAMESPACE/NAME.
type objectRef struct{ kind, namespace, name string }

// refOf reads NAME or NAMESPACE/NAME; namespace is the one of -n.
func refOf(k kindName, namespace, typed string) (objectRef, error) {
	if ns, name, ok := strings.Cut(typed, "/"); ok {
		switch {
		case k.clusterScoped:
			return objectRef{}, usagef("a %s has no namespace; write its name alone", k.kind)
		case namespace != "" && namespace != ns:
			return objectRef{}, usagef("the namespace is %s in %s and %s in -n", ns, typed, namespace)
		case ns == "" || name == "" || strings.Contains(name, "/"):
			return objectRef{}, usagef("%q is neither NAME nor NAMESPACE/NAME", typed)
		}
		return objectRef{k.kind, ns, name}, nil
	}
	if k.clusterScoped {
		return objectRef{k.kind, "", typed}, nil
	}
	if namespace == "" {
		namespace = defaultNamespace
	}
	return objectRef{k.kind, namespace, typed}, nil
}
