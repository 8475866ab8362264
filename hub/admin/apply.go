package admin

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/manifest"
)

// proposal is one object of the manifests of a call, beside what is stored under its name.
type proposal struct {
	manifest.Object
	next catalog.Object
	old  *catalog.Object // nil: there is none
}

func (p proposal) key() admin.ObjectKey { return objectKeyOf(p.next) }

func (p proposal) change() string {
	switch {
	case p.old == nil:
		return admin.Created
	case p.old.Owner == admin.OwnerCLI && bytes.Equal(p.old.Data, p.next.Data):
		return admin.Unchanged
	}
	return admin.Changed
}

// read parses the manifests of a call. Findings are what is malformed or breaks a schema.
func (s *Server) read(c call) ([]manifest.Object, []admin.Finding, error) {
	req, err := readJSON[admin.Manifests](c)
	if err != nil {
		return nil, nil, err
	}
	size := 0
	for _, m := range req.Items {
		if size += len(m.Data); size > admin.MaxManifestBytes {
			e := admin.Errorf(http.StatusRequestEntityTooLarge, "the manifests are longer than %d bytes in all", admin.MaxManifestBytes)
			e.Remedy = "send fewer at once"
			return nil, nil, e
		}
	}
	actor := actorOf(c.ctx())
	var objects []manifest.Object
	var findings []admin.Finding
	for _, m := range req.Items {
		parsed, problems := s.cfg.Validator.Parse(m.Source, []byte(m.Data))
		objects = append(objects, parsed...)
		for _, p := range problems {
			findings = append(findings, admin.Finding(p))
		}
	}
	isAbout(c, namesOfObjects(objects))
	if err := actor.confined(objects); err != nil {
		return nil, nil, err
	}
	// In one call an object stands once: two files that fight over a name are a mistake.
	_, twice := manifest.NewSet(objects)
	for _, p := range twice {
		findings = append(findings, admin.Finding(p))
	}
	if len(objects) == 0 && len(findings) == 0 {
		e := admin.Errorf(http.StatusBadRequest, "there is no object in the manifests")
		e.Remedy = "send at least one YAML or JSON document"
		return nil, nil, e
	}
	return objects, findings, nil
}

// proposals are what is read, encoded, beside what is stored; all is what is stored.
func (s *Server) proposals(ctx context.Context, objects []manifest.Object) (ps []proposal, all []catalog.Object, err error) {
	all, err = s.stored(ctx, catalog.ObjectsPrefix)
	if err != nil {
		return nil, nil, err
	}
	byRef := make(map[catalog.Ref]*catalog.Object, len(all))
	for i := range all {
		byRef[all[i].Ref] = &all[i]
	}
	for _, o := range objects {
		next, err := s.cfg.Codec.Encode(ctx, o)
		if err != nil {
			return nil, nil, err
		}
		if next.Data, err = catalog.Canonical(next.Data); err != nil {
			return nil, nil, fmt.Errorf("admin: %s: %w", o.ID, err)
		}
		ps = append(ps, proposal{o, next, byRef[next.Ref]})
	}
	return ps, all, nil
}

// proposed is the set that would be there.
func (s *Server) proposed(ps []proposal, all []catalog.Object) *manifest.Set {
	proposed := map[catalog.Ref]bool{}
	objects := make([]manifest.Object, 0, len(all)+len(ps))
	for _, p := range ps {
		o := p.Object
		proposed[p.next.Ref] = true
		if p.old != nil {
			o.Created = p.old.Origin // it keeps its age, and with it its place among those that compete
		}
		objects = append(objects, o)
	}
	for _, o := range all {
		if proposed[o.Ref] {
			continue
		}
		m, err := s.cfg.Codec.Decode(o)
		if err != nil {
			s.log.Warn("a catalog object is left out of a dry run", "object", o.Ref.String(), "error", err)
			continue
		}
		objects = append(objects, m)
	}
	set, _ := manifest.NewSet(objects)
	return set
}

// dryRun translates what would be there, and returns what it finds about the proposals: all of it, warnings included, and
// what keeps one from being accepted.
func (s *Server) dryRun(ps []proposal, all []catalog.Object) (found, fatal []admin.Finding) {
	set := s.proposed(ps, all)
	snapshot, report := manifest.Translate(set, s.cfg.Hub.Options())
	refused := map[string]bool{}
	ours := map[string]bool{}
	for _, p := range ps {
		ours[p.ID.String()] = true
		if why := notAccepted(report.Status(p.ID)); why != nil {
			refused[p.ID.String()] = true
			fatal = append(fatal, admin.Finding(p.Problem("", why.Reason, why.Message, "")))
		}
	}
	var explained []admin.Finding
	for _, problem := range slices.Concat(report.Problems(), manifest.Lint(set, snapshot, s.cfg.Hub.Options())) {
		f := admin.Finding(problem)
		if !ours[f.Object] || f.Reason == manifest.ReasonOverridden {
			continue // overridden is what the author of the other level wants, no mistake
		}
		found = append(found, f)
		if refused[f.Object] && f.Severity == "" {
			explained = append(explained, f)
		}
	}
	// A finding says more than the condition that was made of it.
	fatal = slices.DeleteFunc(fatal, func(f admin.Finding) bool {
		return slices.ContainsFunc(explained, func(e admin.Finding) bool { return e.Object == f.Object })
	})
	fatal = append(fatal, explained...)
	for _, f := range fatal {
		if !slices.Contains(found, f) {
			found = append(found, f)
		}
	}
	return found, fatal
}

// comesLater are reasons not to be accepted that end by themselves when the target is applied: routes and policies may
// come before their Gateway.
var comesLater = []string{string(gwv1.RouteReasonNoMatchingParent), manifest.ReasonTargetNotFound}

// notAccepted returns the condition that refuses an object, or nil.
func notAccepted(st *manifest.ObjectStatus) *metav1.Condition {
	if st == nil {
		return nil
	}
	refuses := func(conditions []metav1.Condition) *metav1.Condition {
		for i := range conditions {
			if conditions[i].Type == manifest.ConditionAccepted && conditions[i].Status == metav1.ConditionFalse &&
				!slices.Contains(comesLater, conditions[i].Reason) {
				return &conditions[i]
			}
		}
		return nil
	}
	if c := refuses(st.Conditions); c != nil {
		return c
	}
	for _, p := range st.Parents {
		if c := refuses(p.Conditions); c != nil {
			return c
		}
	}
	return nil
}

// invalid is the refusal of a set of manifests.
func invalid(findings []admin.Finding) error {
	e := admin.Errorf(http.StatusUnprocessableEntity, "%d finding(s); nothing was written", len(findings))
	e.Remedy = "correct the manifests"
	e.Findings = sorted(findings)
	return e
}

func sorted(findings []admin.Finding) []admin.Finding {
	out := slices.Clone(findings)
	slices.SortStableFunc(out, func(a, b admin.Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return strings.Compare(a.Object, b.Object)
	})
	return out
}

func (s *Server) objectValidate(c call) (any, error) {
	objects, findings, err := s.read(c)
	if err != nil {
		return nil, err
	}
	ps, all, err := s.proposals(c.ctx(), objects)
	if err != nil {
		return nil, err
	}
	found, _ := s.dryRun(ps, all)
	return admin.FindingList{Items: append([]admin.Finding{}, sorted(append(findings, found...))...)}, nil
}

func (s *Server) objectDiff(c call) (any, error) {
	objects, findings, err := s.read(c)
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, invalid(findings)
	}
	ps, _, err := s.proposals(c.ctx(), objects)
	if err != nil {
		return nil, err
	}
	list := admin.ChangeList{Items: []admin.Change{}}
	for _, p := range ps {
		change := admin.Change{ObjectKey: p.key(), Change: p.change(), Source: p.Source.File}
		if change.Change != admin.Unchanged {
			change.Diff = p.diff()
		}
		list.Items = append(list.Items, change)
	}
	return list, nil
}

// objectApply writes all objects or, as far as it can be known before, none.
func (s *Server) objectApply() write {
	return write{verb: "apply", object: func(call) string { return "manifests" }, do: func(c call) (any, error) {
		objects, findings, err := s.read(c)
		if err != nil {
			return nil, err
		}
		if len(findings) > 0 {
			return nil, invalid(findings)
		}
		ps, all, err := s.proposals(c.ctx(), objects)
		if err != nil {
			return nil, err
		}
		if err := owned(ps); err != nil {
			return nil, err
		}
		if _, fatal := s.dryRun(ps, all); len(fatal) > 0 {
			return nil, invalid(fatal)
		}
		list := admin.ChangeList{Items: []admin.Change{}}
		for i, p := range ps {
			_, did, err := s.cfg.Objects.Apply(c.ctx(), admin.OwnerCLI, p.next, catalog.ApplyOptions{})
			if err != nil {
				return nil, s.halfway(c, err, i, len(ps))
			}
			list.Items = append(list.Items, admin.Change{ObjectKey: p.key(), Change: changeOf(did), Source: p.Source.File})
		}
		return list, nil
	}}
}

// owned refuses a set if one of its objects belongs to somebody else.
func owned(ps []proposal) error {
	var others []string
	for _, p := range ps {
		if p.old != nil && p.old.Owner != admin.OwnerCLI {
			others = append(others, fmt.Sprintf("%s belongs to %q", p.key(), p.old.Owner))
		}
	}
	if len(others) == 0 {
		return nil
	}
	e := admin.Errorf(http.StatusConflict, "nothing was written: %s, not to %q", strings.Join(others, "; "), admin.OwnerCLI)
	e.Code = admin.CodeOwned
	e.Remedy = "change it where it comes from"
	return e
}

// halfway adds to an error how far an apply got.
func (s *Server) halfway(c call, err error, done, all int) error {
	e := *s.failure(c.Request, err)
	if done > 0 {
		e.Message = fmt.Sprintf("%s, after %d of %d objects were written", e.Message, done, all)
		e.Remedy = "apply the same again: what was written stays as it is"
	}
	return &e
}

// changeOf translates the catalog's words.
func changeOf(c catalog.Change) string {
	switch c {
	case catalog.Created:
		return admin.Created
	case catalog.Updated:
		return admin.Changed
	case catalog.Deleted:
		return admin.Deleted
	}
	return admin.Unchanged
}

// namesOfObjects for the audit log: who they are, never what they hold.
func namesOfObjects(objects []manifest.Object) string {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.ID.String()
	}
	return strings.Join(names, ", ")
}
