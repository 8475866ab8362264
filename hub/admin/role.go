package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"penstock.dev/penstock/apis/admin"
	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/manifest"
)

// Role says what a caller may do.
type Role string

// The roles.
const (
	// PlatformAdmin may do everything.
	PlatformAdmin Role = "platform-admin"
	// TeamAdmin looks after the objects and credentials of some namespaces, and sees no others. What opens the hub itself
	// stays with the platform: cluster-scoped kinds, Gateways, and addresses that a Backend may reach inside.
	TeamAdmin Role = "team-admin"
	// Auditor reads everything that may be shown, the audit too, and changes nothing.
	Auditor Role = "auditor"
)

// Actor is who calls.
type Actor struct {
	// Name for the audit: "user:1000", "token:ci", "certificate:alice".
	Name string
	Role Role
	// Namespaces of a TeamAdmin.
	Namespaces []string
}

// check says what is wrong with an actor of a configuration.
func (a Actor) check() error {
	switch a.Role {
	case PlatformAdmin, Auditor:
		if len(a.Namespaces) > 0 {
			return fmt.Errorf("admin: %s: a %s has no namespaces", a.Name, a.Role)
		}
	case TeamAdmin:
		if len(a.Namespaces) == 0 {
			return fmt.Errorf("admin: %s: a %s needs at least one namespace", a.Name, a.Role)
		}
	default:
		return fmt.Errorf("admin: %s: %q is no role; write %s, %s or %s", a.Name, a.Role, PlatformAdmin, TeamAdmin, Auditor)
	}
	return nil
}

// right is what an operation asks of its caller.
type right int

const (
	_            right = iota
	forAll             // of every role
	forReaders         // who may see all
	forTeams           // who may see all; a TeamAdmin its own namespaces
	forTeamWrite       // who may change all; a TeamAdmin its own namespaces
	forPlatform        // who may change all
)

// rights of each operation. Where a path names no namespace, the operation itself looks at what its body or its list names
// (confined, sees).
func rights() map[string]right {
	return map[string]right{
		admin.OpClusterRegister: forPlatform,
		admin.OpClusterList:     forReaders,
		admin.OpClusterGet:      forReaders,
		admin.OpClusterSuspend:  forPlatform,
		admin.OpClusterResume:   forPlatform,
		admin.OpClusterRevoke:   forPlatform,
		admin.OpClusterRecover:  forPlatform,

		admin.OpCredentialList:   forTeams,
		admin.OpCredentialSet:    forTeamWrite,
		admin.OpCredentialRotate: forTeamWrite,

		admin.OpObjectList:     forTeams,
		admin.OpObjectGet:      forTeams,
		admin.OpObjectDelete:   forTeamWrite,
		admin.OpObjectApply:    forTeamWrite,
		admin.OpObjectDiff:     forTeams,
		admin.OpObjectValidate: forTeams,

		// Both name objects of all namespaces.
		admin.OpExplain: forReaders,
		admin.OpWhy:     forReaders,
		admin.OpStatus:  forReaders,
		admin.OpAudit:   forReaders,
		admin.OpVersion: forAll,
	}
}

// may says whether an actor has a right at all, whatever the namespace.
func (a Actor) may(r right) bool {
	switch a.Role {
	case PlatformAdmin:
		return r != 0
	case Auditor:
		return r == forAll || r == forReaders || r == forTeams
	case TeamAdmin:
		return r == forAll || r == forTeams || r == forTeamWrite
	}
	return false
}

// sees says whether an actor may know of what is in a namespace; empty: of what is cluster-scoped.
func (a Actor) sees(namespace string) bool {
	return a.Role == PlatformAdmin || a.Role == Auditor || namespace != "" && slices.Contains(a.Namespaces, namespace)
}

// forbidden is the answer to who may not. It is the same whether or not the object is there.
func (a Actor) forbidden(what string) error {
	e := admin.Errorf(http.StatusForbidden, "%s, a %s, may not %s", a.Name, a.Role, what)
	e.Remedy = "ask a " + string(PlatformAdmin) + ", or have admin.tokens or admin.clients of the hub's configuration changed"
	if a.Role == TeamAdmin {
		e.Message += "; its namespaces are " + strings.Join(a.Namespaces, ", ")
	}
	return e
}

// permitted is an operation that asks first.
func permitted(op string, do operation) operation {
	needs := rights()[op]
	return func(c call) (any, error) {
		a := actorOf(c.ctx())
		verb, path, _ := strings.Cut(op, " ")
		if !a.may(needs) {
			return nil, a.forbidden(verb + " " + path)
		}
		if strings.Contains(path, "{"+admin.ParamNamespace+"}") {
			if !a.sees(pathNamespace(c)) {
				return nil, a.forbidden(verb + " " + c.URL.Path)
			}
			if needs == forTeamWrite && a.Role == TeamAdmin && platformKind(c.PathValue(admin.ParamKind)) {
				return nil, a.forbidden("change a " + c.PathValue(admin.ParamKind))
			}
		}
		return do(c)
	}
}

// platformKind: a Gateway opens ports of the hub, whatever namespace it is in.
func platformKind(kind string) bool { return strings.EqualFold(kind, "Gateway") }

// confined refuses manifests of which one is not the actor's, before any of them is looked at beside what is stored.
func (a Actor) confined(objects []manifest.Object) error {
	if a.Role != TeamAdmin {
		return nil
	}
	for _, o := range objects {
		switch {
		case !a.sees(o.ID.Namespace):
			return a.forbidden("have " + o.ID.String())
		case platformKind(o.ID.Kind):
			return a.forbidden("have " + o.ID.String() + ": Gateways are the platform's")
		}
		if b, ok := o.Value.(*penstockv1alpha1.Backend); ok && b.Spec.Egress != nil && b.Spec.Egress.AddressPolicy != nil {
			return a.forbidden("set spec.egress.addressPolicy of " + o.ID.String() + ": it opens addresses that are closed to all") // TH-E1
		}
	}
	return nil
}
