package manifest

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// Report is the status each object has earned, and every finding. It is data: a folder writes it to a file, a cluster
// into status, `validate` prints the problems. Not changed after Translate; safe for concurrent use.
type Report struct {
	// Objects are sorted by kind, namespace and name. Objects that are only referred to (Secrets, ConfigMaps,
	// ReferenceGrants, Namespaces, Services) and those of other controllers are not in it.
	Objects []ObjectStatus
	// Findings of this translation; see Problems.
	findings []Problem
}

// ObjectStatus is the status of one object. LastTransitionTime is zero throughout: a translation has no clock, whoever
// writes status keeps the old time where nothing changed.
type ObjectStatus struct {
	ID     ID
	Source Source
	// Conditions of the object itself; nil for HTTPRoute, whose conditions stand per parent.
	Conditions []metav1.Condition
	// Listeners of a Gateway, in its order.
	Listeners []gwv1.ListenerStatus
	// Parents of a route: those of our Gateways only. Whoever writes status leaves the others' entries alone.
	Parents []gwv1.RouteParentStatus
	// Ancestors of a policy (GEP-713), or the parents of an XBackend: our Gateways that it matters to, with the same care
	// for others' entries.
	Ancestors []gwv1.PolicyAncestorStatus
}

// ancestor is the status of a policy or XBackend at one Gateway.
func ancestor(g ID, controller string, conditions []metav1.Condition) gwv1.PolicyAncestorStatus {
	group, kind, namespace := gwv1.Group(g.Group), gwv1.Kind(g.Kind), gwv1.Namespace(g.Namespace)
	return gwv1.PolicyAncestorStatus{
		AncestorRef:    gwv1.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace, Name: gwv1.ObjectName(g.Name)},
		ControllerName: gwv1.GatewayController(controller), Conditions: conditions,
	}
}

// Problems returns every finding, sorted by file and line.
func (r *Report) Problems() []Problem {
	if r == nil {
		return nil
	}
	return slices.Clone(r.findings)
}

// Status returns the status of one object, or nil.
func (r *Report) Status(id ID) *ObjectStatus {
	if r == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(r.Objects, id, func(s ObjectStatus, id ID) int { return compareIDs(s.ID, id) })
	if !ok {
		return nil
	}
	return &r.Objects[i]
}

// Condition returns the condition of that type, or nil.
func (s *ObjectStatus) Condition(conditionType string) *metav1.Condition {
	if s == nil {
		return nil
	}
	for i := range s.Conditions {
		if s.Conditions[i].Type == conditionType {
			return &s.Conditions[i]
		}
	}
	return nil
}

// YAML is the report as a document: the same bytes for the same report.
func (r *Report) YAML() ([]byte, error) {
	doc := reportDocument{Objects: []statusDocument{}}
	if r != nil {
		for _, s := range r.Objects {
			doc.Objects = append(doc.Objects, statusDocument{
				Kind: s.ID.Kind, Namespace: s.ID.Namespace, Name: s.ID.Name,
				Conditions: conditionDocuments(s.Conditions), Listeners: listenerDocuments(s.Listeners), Parents: parentDocuments(s.Parents), Ancestors: ancestorDocuments(s.Ancestors),
			})
		}
		for _, p := range r.findings {
			doc.Problems = append(doc.Problems, p.String())
		}
	}
	return yaml.Marshal(doc)
}

// MarshalJSON is the JSON form of YAML.
func (r *Report) MarshalJSON() ([]byte, error) {
	y, err := r.YAML()
	if err != nil {
		return nil, err
	}
	return yaml.YAMLToJSON(y)
}

var _ json.Marshaler = (*Report)(nil)

type reportDocument struct {
	Objects  []statusDocument `json:"objects"`
	Problems []string         `json:"problems,omitempty"`
}

type statusDocument struct {
	Kind       string              `json:"kind"`
	Namespace  string              `json:"namespace,omitempty"`
	Name       string              `json:"name"`
	Conditions []conditionDocument `json:"conditions,omitempty"`
	Listeners  []listenerDocument  `json:"listeners,omitempty"`
	Parents    []parentDocument    `json:"parents,omitempty"`
	Ancestors  []ancestorDocument  `json:"ancestors,omitempty"`
}

type conditionDocument struct {
	Type               string `json:"type"`
	Status             string `json:"status"`
	Reason             string `json:"reason"`
	Message            string `json:"message,omitempty"`
	ObservedGeneration int64  `json:"observedGeneration,omitempty"`
}

type listenerDocument struct {
	Name           string              `json:"name"`
	SupportedKinds []string            `json:"supportedKinds"`
	AttachedRoutes int32               `json:"attachedRoutes"`
	Conditions     []conditionDocument `json:"conditions"`
}

type parentDocument struct {
	Parent     string              `json:"parent"`
	Conditions []conditionDocument `json:"conditions"`
}

type ancestorDocument struct {
	Ancestor   string              `json:"ancestor"`
	Conditions []conditionDocument `json:"conditions"`
}

func conditionDocuments(cs []metav1.Condition) []conditionDocument {
	var out []conditionDocument
	for _, c := range cs {
		out = append(out, conditionDocument{c.Type, string(c.Status), c.Reason, c.Message, c.ObservedGeneration})
	}
	return out
}

func listenerDocuments(ls []gwv1.ListenerStatus) []listenerDocument {
	var out []listenerDocument
	for _, l := range ls {
		d := listenerDocument{Name: string(l.Name), SupportedKinds: []string{}, AttachedRoutes: l.AttachedRoutes, Conditions: conditionDocuments(l.Conditions)}
		for _, k := range l.SupportedKinds {
			d.SupportedKinds = append(d.SupportedKinds, string(k.Kind))
		}
		out = append(out, d)
	}
	return out
}

func parentDocuments(ps []gwv1.RouteParentStatus) []parentDocument {
	var out []parentDocument
	for _, p := range ps {
		out = append(out, parentDocument{Parent: describeParent(p.ParentRef), Conditions: conditionDocuments(p.Conditions)})
	}
	return out
}

func ancestorDocuments(as []gwv1.PolicyAncestorStatus) []ancestorDocument {
	var out []ancestorDocument
	for _, a := range as {
		out = append(out, ancestorDocument{Ancestor: describeParent(a.AncestorRef), Conditions: conditionDocuments(a.Conditions)})
	}
	return out
}

// describeParent is "namespace/name", with the listener and port the reference is narrowed to.
func describeParent(ref gwv1.ParentReference) string {
	var b strings.Builder
	if ref.Namespace != nil {
		b.WriteString(string(*ref.Namespace) + "/")
	}
	b.WriteString(string(ref.Name))
	if ref.SectionName != nil {
		b.WriteString("#" + string(*ref.SectionName))
	}
	if ref.Port != nil {
		b.WriteString(":" + itoa(int(*ref.Port)))
	}
	return b.String()
}
