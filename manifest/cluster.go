package manifest

import (
	"fmt"
	"slices"
	"strings"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// noCatalog is said of kinds that mean something at a hub only.
func noCatalog(kind string) fault {
	return fault{ReasonNoCatalog, kind + " means nothing at a gateway without a catalog", "apply it at the hub"}
}

func (t *translation) translateClusters() {
	for _, o := range each[*penstockv1alpha1.Cluster](t.set) {
		c := t.conditions(o.Object)
		if !t.opt.Catalog {
			t.report(o.Object, c, ConditionAccepted, "", noCatalog("a Cluster"))
			continue
		}
		role := o.value.Spec.Role
		if role == "" {
			role = "spoke"
		}
		if role != "spoke" && role != "hub" {
			t.report(o.Object, c, ConditionAccepted, "spec.role", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no role %q", clip(role)), `write "spoke" or "hub"`})
			continue
		}
		t.snap.Clusters = append(t.snap.Clusters, route.Cluster{
			Name: o.ID.Name, Role: role, Suspended: o.value.Spec.Suspended, SourceIPTrusted: o.value.Spec.SourceIP == "Trusted",
		})
	}
}

func (t *translation) translateFilterDefinitions() {
	for _, o := range each[*penstockv1alpha1.FilterDefinition](t.set) {
		c := t.conditions(o.Object)
		if _, ok := builtin(o.value.Spec.Type); !ok {
			t.report(o.Object, c, ConditionAccepted, "spec.type", fault{
				ReasonUnsupportedType,
				fmt.Sprintf("no code here runs filters of type %q", clip(o.value.Spec.Type)), "use one of " + strings.Join(builtinTypes(), ", "),
			})
		}
	}
}

func (t *translation) translateCredentials() {
	for _, o := range each[*penstockv1alpha1.Credential](t.set) {
		c := t.conditions(o.Object)
		if !t.opt.Catalog {
			t.report(o.Object, c, ConditionAccepted, "", noCatalog("a Credential"))
			continue
		}
		s := o.value.Spec
		for i, h := range s.Hosts {
			if bad := checkHostname(h, t.opt); !bad.ok() {
				t.report(o.Object, c, ConditionAccepted, fmt.Sprintf("spec.hosts[%d]", i), bad)
			}
		}
		if len(s.Hosts) == 0 {
			t.report(o.Object, c, ConditionAccepted, "spec.hosts", fault{ReasonInvalid, "names no host", "name the hosts the value may be sent to"})
		}
		t.checkCredentialKind(o, c)
	}
}

func (t *translation) checkCredentialKind(o object[*penstockv1alpha1.Credential], c *conditions) {
	s := o.value.Spec
	switch s.Kind {
	case penstockv1alpha1.CredentialBearer, penstockv1alpha1.CredentialBasic:
	case penstockv1alpha1.CredentialHeader:
		if s.Header == nil {
			t.report(o.Object, c, ConditionAccepted, "spec.header", fault{ReasonInvalid, "is required with kind Header", "name the header"})
		} else if bad := checkHeaderName(s.Header.Name); !bad.ok() {
			t.report(o.Object, c, ConditionAccepted, "spec.header.name", bad)
		}
	case penstockv1alpha1.CredentialQueryParameter:
		if s.QueryParameter == nil || s.QueryParameter.Name == "" {
			t.report(o.Object, c, ConditionAccepted, "spec.queryParameter", fault{ReasonInvalid, "is required with kind QueryParameter", "name the parameter"})
		}
	default:
		t.report(o.Object, c, ConditionAccepted, "spec.kind", fault{ReasonUnsupportedValue, fmt.Sprintf("there is no kind %q of credentials", clip(string(s.Kind))), "use Header, Bearer, Basic or QueryParameter"})
	}
}

// credential returns why the Credential of that name may not be bound to a Backend with that hostname.
func (t *translation) credential(namespace, name, hostname string) fault {
	o, ok := lookup[*penstockv1alpha1.Credential](t.set, ID{Group: groupPenstock, Kind: "Credential", Namespace: namespace, Name: name})
	switch {
	case !t.opt.Catalog:
		return fault{ReasonNoCatalog, "a credential is written at a hub only", "remove the filter, or reach the destination through the hub"}
	case !ok:
		return fault{ReasonCredentialNotFound, fmt.Sprintf("there is no Credential %s in namespace %s", clip(name), namespace), "create it beside the Backend"}
	case !t.conditions(o.Object).is(ConditionAccepted, false):
		if !slices.Contains(o.value.Spec.Hosts, hostname) {
			return fault{ReasonCredentialHostMismatch, fmt.Sprintf("Credential %s/%s may not be sent to %q", namespace, name, hostname), "add the host to spec.hosts of the Credential, if its owner agrees"}
		}
		return fault{}
	}
	return fault{ReasonCredentialNotFound, fmt.Sprintf("Credential %s/%s is not accepted", namespace, name), "correct the Credential"}
}
