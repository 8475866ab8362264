package manifest

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// backendID is the ID of a Backend or XBackend in a namespace; group and kind may be empty for a Backend.
func backendID(group, kind, namespace, name string) (ID, bool) {
	if kind == "" {
		kind = "Backend"
	}
	switch {
	case kind == "Backend" && (group == "" || group == groupPenstock):
		return ID{Group: groupPenstock, Kind: kind, Namespace: namespace, Name: name}, true
	case kind == "XBackend" && group == groupGatewayX:
		return ID{Group: groupGatewayX, Kind: kind, Namespace: namespace, Name: name}, true
	}
	return ID{}, false
}

// translateGrants makes the grants that the hub enforces and that views are made of.
func (t *translation) translateGrants() {
	for _, o := range each[*penstockv1alpha1.EgressGrant](t.set) {
		c := t.conditions(o.Object)
		if !t.opt.Catalog {
			t.report(o.Object, c, ConditionAccepted, "", noCatalog("an EgressGrant"))
			continue
		}
		g := route.Grant{Name: o.ID.Key(), Alias: o.value.Spec.Alias}
		g.Backends = t.grantTargets(o, c)
		g.From = t.grantSources(o, c)
		if bad := checkAlias(o.value.Spec); !bad.ok() {
			// Without its alias the grant would give the entry another name than its author meant.
			t.report(o.Object, c, ConditionAccepted, "spec.alias", bad)
			continue
		}
		if len(g.Backends) > 0 && len(g.From) > 0 {
			t.snap.Grants = append(t.snap.Grants, g)
		}
	}
}

func checkAlias(s penstockv1alpha1.EgressGrantSpec) fault {
	switch {
	case s.Alias == "":
		return fault{}
	case len(s.To) != 1:
		return fault{ReasonInvalid, "an alias needs exactly one entry in spec.to", "write one EgressGrant per alias"}
	case len(validation.IsDNS1035Label(s.Alias)) > 0:
		return fault{ReasonInvalid, fmt.Sprintf("%q is no name for a Service", clip(s.Alias)), "use lower case letters, digits and '-', at most 63 characters, a letter first"}
	}
	return fault{}
}

// grantTargets are the keys of the granted Backends that are served.
func (t *translation) grantTargets(o object[*penstockv1alpha1.EgressGrant], c *conditions) []string {
	var keys []string
	for i, to := range o.value.Spec.To {
		field := fmt.Sprintf("spec.to[%d]", i)
		id, ok := backendID(to.Group, to.Kind, o.ID.Namespace, to.Name)
		if !ok {
			t.report(o.Object, c, ConditionResolvedRefs, field, fault{
				ReasonInvalidKind,
				fmt.Sprintf("%s of group %q cannot be granted", clip(to.Kind), clip(to.Group)), "use Backend of penstock.dev or XBackend of " + groupGatewayX,
			})
			continue
		}
		d, ok := t.direct[id]
		if !ok {
			t.report(o.Object, c, ConditionResolvedRefs, field, fault{
				ReasonTargetNotFound,
				fmt.Sprintf("there is no %s %s in namespace %s", id.Kind, clip(to.Name), o.ID.Namespace), "create it; a grant reaches its own namespace only",
			})
			continue
		}
		if d.fault.ok() && !slices.Contains(keys, d.backend.Key) {
			keys = append(keys, d.backend.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (t *translation) grantSources(o object[*penstockv1alpha1.EgressGrant], c *conditions) []route.GrantFrom {
	var out []route.GrantFrom
	for i, from := range o.value.Spec.From {
		field := fmt.Sprintf("spec.from[%d]", i)
		if len(from.Clusters) == 0 && from.ClusterSelector == nil && len(from.Namespaces) == 0 {
			t.report(o.Object, c, ConditionAccepted, field, fault{ReasonInvalid, "would let everybody in", "name at least clusters, clusterSelector or namespaces"})
			continue
		}
		f := route.GrantFrom{
			Clusters:        sorted(from.Clusters),
			Namespaces:      sorted(from.Namespaces),
			ServiceAccounts: sorted(from.ServiceAccounts),
		}
		if from.ClusterSelector == nil {
			f.AnyCluster = len(from.Clusters) == 0
			out = append(out, f)
			continue
		}
		selected, err := t.selectClusters(from.ClusterSelector)
		if err != nil {
			t.report(o.Object, c, ConditionAccepted, field+".clusterSelector", fault{ReasonInvalid, "is no label selector: " + clip(firstLine(err.Error())), "correct the selector"})
			continue
		}
		if len(from.Clusters) > 0 {
			// All fields of one entry must match.
			selected = slices.DeleteFunc(selected, func(name string) bool { return !slices.Contains(f.Clusters, name) })
		}
		f.Clusters = selected
		out = append(out, f)
	}
	return out
}

// selectClusters resolves a selector to the names of registered clusters, sorted.
func (t *translation) selectClusters(s *metav1.LabelSelector) ([]string, error) {
	sel, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range each[*penstockv1alpha1.Cluster](t.set) {
		if sel.Matches(labels.Set(o.value.Labels)) {
			names = append(names, o.ID.Name)
		}
	}
	return names, nil
}

// sorted is a sorted copy without repeats; nil for nothing.
func sorted(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}
