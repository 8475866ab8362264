package manifest

import (
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/route"
)

// Translate turns one consistent set of manifests into the table the data plane serves and the status each object has
// earned. A faulty object costs only itself: it is reported and left out, the rest still serves. What names a faulty
// object answers 500, because a filter or a Backend that is missing must not open a way around it.
//
// Translate is a function: no clock, no network, no logger, no change to its input, the same bytes out for the same
// bytes in, whatever the order of files. The snapshot is not compiled: call Compile.
func Translate(set *Set, opt Options) (*route.Snapshot, *Report) {
	t := &translation{
		set: set, opt: opt,
		status:   map[ID]*conditions{},
		direct:   map[ID]*destination{},
		claims:   map[ID]*destination{},
		gateways: map[string]*gateway{},
		layers:   map[ID]*layer{},
		outcomes: map[ID]*outcome{},
		users:    map[ID]map[*gateway]bool{},
		services: map[string]*route.Backend{},
		tlsOf:    map[servicePort]*tlsPolicy{},
	}
	t.translateClusters()
	t.translateFilterDefinitions()
	t.translateCredentials()
	t.translateGatewayConfigs()
	t.translateGateways()
	t.translateBackends()
	t.translateBackendTLSPolicies()
	t.translateGrants()
	t.translatePolicies()
	t.translateEgressFilters()
	t.translateRoutes()
	t.addImplicitRoutes()
	t.addAliases()
	return t.finish()
}

// translation is the state of one Translate.
type translation struct {
	set  *Set
	opt  Options
	snap route.Snapshot

	findings []Problem
	status   map[ID]*conditions
	listed   []ObjectStatus // Gateways, routes and policies, whose status is more than conditions

	// direct are Backends as they are dialed, claims as they resolve to the parent's entries.
	direct, claims map[ID]*destination
	// users are the Gateways with a route that refers to an XBackend.
	users        map[ID]map[*gateway]bool
	gateways     map[string]*gateway // ours, by "namespace/name"
	gatewayOrder []*gateway          // the same, oldest first
	// layers are the filters of policies by target, and of EgressFilters by their own ID.
	layers map[ID]*layer
	// The parent's view, sorted, and by destination; nil until asked for.
	parentEntries []control.Entry
	entriesAt     map[string][]control.Entry // by "hostname:port"
	// referenceGrants by namespace; nil until asked for.
	referenceGrants map[string][]*gwv1.ReferenceGrant
	// services are the Backends that ports of Services mean, by key.
	services map[string]*route.Backend
	slices   map[ID][]object[*discoveryv1.EndpointSlice] // by Service
	// tlsOf says which BackendTLSPolicy acts on a port of a Service.
	tlsOf       map[servicePort]*tlsPolicy
	tlsPolicies []*tlsPolicy
	// outcomes say which policies and EgressFilters lost their filters to another level.
	outcomes map[ID]*outcome
}

// destination is a Backend object as a rule may use it.
type destination struct {
	// backend is meaningful only if fault.ok().
	backend route.Backend
	fault   fault
}

// conditions of an object; asking for them lists the object in the report.
func (t *translation) conditions(o *Object) *conditions {
	c, ok := t.status[o.ID]
	if !ok {
		c = &conditions{}
		t.status[o.ID] = c
	}
	return c
}

// report adds a finding about a field and states it as a condition of status False.
func (t *translation) report(o *Object, c *conditions, condition, field string, f fault) {
	p := o.Problem(field, f.reason, f.message, f.remedy)
	t.findings = append(t.findings, p)
	c.set(condition, false, f.reason, p.text())
}

// warn adds a finding and states it as Degraded: the object works, but not as written.
func (t *translation) warn(o *Object, c *conditions, field string, f fault) {
	p := o.Problem(field, f.reason, f.message, f.remedy)
	t.findings = append(t.findings, p)
	c.set(ConditionDegraded, true, f.reason, p.text())
}

// finish sorts everything and completes the conditions.
func (t *translation) finish() (*route.Snapshot, *Report) {
	t.finishOutcomes()
	t.listTLSPolicies()
	for _, b := range t.services {
		t.snap.Backends = append(t.snap.Backends, *b)
	}
	r := &Report{Objects: t.listed}
	for i := range t.set.Objects() {
		o := &t.set.Objects()[i]
		if c, ok := t.status[o.ID]; ok {
			complete(o.ID, c)
			s := ObjectStatus{ID: o.ID, Source: o.Source, Conditions: c.emit(o.Generation())}
			s.Ancestors = t.ancestorsOf(o.ID, s.Conditions)
			r.Objects = append(r.Objects, s)
		}
	}
	for _, g := range t.gatewayOrder {
		t.snap.Listeners = append(t.snap.Listeners, g.serve()...)
		r.Objects = append(r.Objects, g.objectStatus())
	}
	slices.SortFunc(r.Objects, func(a, b ObjectStatus) int { return compareIDs(a.ID, b.ID) })
	r.findings = sortProblems(t.findings)

	t.addBuiltinListener()
	slices.SortFunc(t.snap.Listeners, func(a, b route.Listener) int {
		if c := strings.Compare(a.Gateway, b.Gateway); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	slices.SortFunc(t.snap.Backends, func(a, b route.Backend) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(t.snap.Grants, func(a, b route.Grant) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(t.snap.Clusters, func(a, b route.Cluster) int { return strings.Compare(a.Name, b.Name) })
	return &t.snap, r
}

// complete adds the conditions that nothing spoke against.
func complete(id ID, c *conditions) {
	c.set(ConditionAccepted, true, ConditionAccepted, "")
	switch id.Kind {
	case "Backend", "XBackend", "EgressGrant", "EgressPolicy":
		c.set(ConditionResolvedRefs, true, ConditionResolvedRefs, "")
	}
	switch id.Kind {
	case "Backend", "XBackend", "EgressGrant", "EgressPolicy", "EgressFilter":
		if c.is(ConditionAccepted, true) && !c.is(ConditionResolvedRefs, false) {
			c.set(ConditionProgrammed, true, ConditionProgrammed, "")
		} else {
			c.set(ConditionProgrammed, false, ReasonInvalid, "see the other conditions")
		}
	}
}
