package manifest

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/apis/control"
	penstockv1alpha1 "penstock.dev/penstock/apis/v1alpha1"
	"penstock.dev/penstock/gateway/route"
)

// claim resolves a Backend of a spoke to the one entry of the parent's view with the same hostname and port that is
// granted to the claim's namespace. What the entry says counts; the claim only names it.
func (t *translation) claim(o object[*penstockv1alpha1.Backend], c *conditions) *destination {
	refuse := func(condition, field string, f fault) *destination {
		t.report(o.Object, c, condition, field, f)
		return &destination{fault: f}
	}
	s := o.value.Spec
	hostname := ""
	if s.ExternalHostname != nil {
		hostname = s.ExternalHostname.Hostname
	}
	var found []control.Entry
	for _, e := range t.entriesOf(hostname, int(s.Port.Number)) {
		if visible(e, o.ID.Namespace) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return refuse(ConditionResolvedRefs, "spec.externalHostname.hostname", fault{
			ReasonNotInCatalog,
			fmt.Sprintf("%q port %d is not granted to namespace %s", clip(hostname), s.Port.Number, o.ID.Namespace),
			"ask the hub's platform team for an EgressGrant, or correct hostname and port",
		})
	case 1:
	default:
		return refuse(ConditionResolvedRefs, "spec.externalHostname.hostname", fault{
			ReasonNotInCatalog,
			fmt.Sprintf("%d entries with %q port %d are granted to namespace %s", len(found), clip(hostname), s.Port.Number, o.ID.Namespace),
			"address the one you mean by its alias",
		})
	}
	e := found[0]
	if bad := claimTLS(s, e); !bad.ok() {
		return refuse(ConditionAccepted, "spec.tls", bad)
	}
	if s.Egress != nil {
		t.warn(o.Object, c, "spec.egress", fault{ReasonOwnedByParent, "does nothing here; entry " + e.Namespace + "/" + e.Name + " of the hub decides", "remove it"})
	}
	if s.Protocol != "" && string(s.Protocol) != e.Protocol {
		t.warn(o.Object, c, "spec.protocol", fault{ReasonOwnedByParent, "does nothing here; entry " + e.Namespace + "/" + e.Name + " of the hub decides", "remove it"})
	}
	return &destination{backend: t.parentBackend(e)}
}

// visible reports whether a grant of the entry covers callers of the namespace.
func visible(e control.Entry, namespace string) bool {
	return slices.ContainsFunc(e.Grants, func(g control.EntryGrant) bool {
		return len(g.Namespaces) == 0 || slices.Contains(g.Namespaces, namespace)
	})
}

// claimTLS lets a claim say about TLS only what the entry does anyway: the mode, its own hostname, the system's roots.
func claimTLS(s penstockv1alpha1.BackendSpec, e control.Entry) fault {
	if s.TLS == nil {
		return fault{}
	}
	mode, entryMode := s.TLS.Mode, penstockv1alpha1.BackendTLSMode(e.TLSMode)
	if mode == "" {
		mode = penstockv1alpha1.BackendTLSServerOnly
	}
	if entryMode == "" {
		entryMode = penstockv1alpha1.BackendTLSNone
	}
	const remedy = "remove spec.tls: how TLS to the destination is made is the hub's business"
	if mode != entryMode {
		return fault{ReasonTLSOwnedByParent, fmt.Sprintf("mode is %s here and %s at the hub", clip(string(mode)), entryMode), remedy}
	}
	if s.TLS.ClientCertificateRef != nil {
		return fault{ReasonTLSOwnedByParent, "client certificates are shown by the hub", remedy}
	}
	if v := s.TLS.Validation; v != nil {
		if (v.Hostname != "" && v.Hostname != e.Hostname) || len(v.CACertificateRefs)+len(v.SubjectAltNames) > 0 {
			return fault{ReasonTLSOwnedByParent, "the destination's certificate is validated by the hub", remedy}
		}
	}
	return fault{}
}

// parentBackend is an entry as this gateway reaches it: through the parent, by its catalog name, and in no other way.
// Hostname and port stay out, so that whatever fails there is nothing here to dial.
func (t *translation) parentBackend(e control.Entry) route.Backend {
	return route.Backend{
		Key:       t.parentKey(e),
		Via:       route.ViaParent,
		Authority: Authority(e.Namespace, e.Name),
		Protocol:  e.Protocol,
		Timeouts:  route.BackendTimeouts{ResponseHeaders: time.Duration(e.ResponseHeadersMillis) * time.Millisecond},

		MirrorsRefused: e.MirrorsRefused,
	}
}

// parentKey is the key of a parent's entry. At a hub that has a parent the plain name is that of its own entry.
func (t *translation) parentKey(e control.Entry) string {
	key := e.Namespace + "/" + e.Name
	if t.opt.Catalog {
		key += "@parent"
	}
	return key
}

// entries is the view, sorted, an entry each once.
func (t *translation) entries() []control.Entry {
	if t.opt.View == nil || t.parentEntries != nil {
		return t.parentEntries
	}
	entries := slices.Clone(t.opt.View.Entries)
	slices.SortStableFunc(entries, compareEntries)
	t.parentEntries = slices.CompactFunc(entries, func(a, b control.Entry) bool { return compareEntries(a, b) == 0 })
	return t.parentEntries
}

func compareEntries(a, b control.Entry) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// entriesOf are the entries that lead to one destination.
func (t *translation) entriesOf(hostname string, port int) []control.Entry {
	if t.entriesAt == nil {
		t.entriesAt = map[string][]control.Entry{}
		for _, e := range t.entries() {
			at := net.JoinHostPort(e.Hostname, strconv.Itoa(e.Port))
			t.entriesAt[at] = append(t.entriesAt[at], e)
		}
	}
	return t.entriesAt[net.JoinHostPort(hostname, strconv.Itoa(port))]
}

// addParentEntries puts every granted entry into the table: claims and aliases lead to them.
func (t *translation) addParentEntries(claimed bool) {
	if !claimed {
		return
	}
	for _, e := range t.entries() {
		t.snap.Backends = append(t.snap.Backends, t.parentBackend(e))
	}
}
