package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/manifest"
)

// The values of --as.
const (
	asAuto  = "auto"
	asHub   = "hub"
	asSpoke = "spoke"
)

func (a *app) validateCommand() *cobra.Command {
	var (
		files  []string
		as     string
		view   string
		online bool
		strict bool
	)
	cmd := &cobra.Command{
		Use: "validate (DIR... | -f FILE)", GroupID: groupObjects,
		Short:       "Check manifests with the code of the hub, without a hub; exit code 1 on findings that are no warnings",
		Annotations: offers(formatTable, formatJSON, formatYAML),
		Long: `Check manifests: their form, the schemas and rules of the CRDs, and whether they fit together. It needs no hub and runs
the hub's own code, so that what passes here is served there. The manifests must be complete: what they refer to must
be among them.

Whether they are a hub's or a spoke's is told by what is among them (--as says it outright). A spoke's Backends are
checked as if the spoke dialed them itself, since only its hub knows what is granted to it; --view FILE says what is
granted (a file with cluster and entries, as the hub sends it). With --online the hub checks the manifests together with
the objects it has.

Warnings are about what is served as written and cannot be meant: rules that never get a request, grants that match
nobody. They do not change the exit code unless --strict is given.`,
		Example: `  penstock validate catalog/
  penstock validate -f backend.yaml --online`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.print.check(cmd); err != nil {
				return err
			}
			paths := slices.Concat(files, args)
			if len(paths) == 0 {
				return usagef("what? name a folder, or -f FILE")
			}
			if !slices.Contains([]string{asAuto, asHub, asSpoke}, as) {
				return usagef("--as %q does not exist; use auto, hub or spoke", as)
			}
			if view != "" && (online || as == asHub) {
				return usagef("--view is what a spoke is granted; it goes neither with --as hub nor with --online")
			}
			m, err := readManifests(cmd, paths)
			if err != nil {
				return err
			}
			if online {
				return a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
					list, err := c.Validate(ctx, m)
					if err != nil {
						return err
					}
					return a.printFindings(cmd, list, strict, count(len(m.Items), "file"))
				})(cmd, args)
			}
			var granted *control.View
			if view != "" {
				if granted, err = readView(view); err != nil {
					return err
				}
			}
			list, objects, err := validate(m, as, granted)
			if err != nil {
				return err
			}
			return a.printFindings(cmd, list, strict, count(objects, "object")+" in "+count(len(m.Items), "file"))
		},
	}
	fileFlag(cmd, &files)
	cmd.Flags().StringVar(&as, "as", asAuto, "whose manifests these are: hub, spoke, or auto")
	cmd.Flags().StringVar(&view, "view", "", "file that says what the hub grants to the spoke whose manifests these are")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit code 1 on warnings too")
	cmd.Flags().BoolVar(&online, "online", false, "let the hub check them together with what it has")
	return cmd
}

// readView reads what a hub grants to a cluster, strictly.
func readView(name string) (*control.View, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the view: %w", err)
	}
	v := &control.View{}
	if err := yaml.UnmarshalStrict(data, v); err != nil {
		return nil, fmt.Errorf("read the view %s: %w; write cluster and entries, as the hub sends them", name, err)
	}
	return v, nil
}

// validate returns the findings and the number of objects that could be read. With a view the manifests are a spoke's.
func validate(m admin.Manifests, as string, view *control.View) (admin.FindingList, int, error) {
	validator, err := manifest.NewValidator()
	if err != nil {
		return admin.FindingList{}, 0, err
	}
	var (
		objects  [][]manifest.Object
		problems []manifest.Problem
	)
	for _, item := range m.Items {
		o, p := validator.Parse(item.Source, []byte(item.Data))
		objects, problems = append(objects, o), append(problems, p...)
	}
	set, duplicates := manifest.NewSet(objects...)
	opt := manifest.Options{Controller: manifest.SpokeController, View: view, Now: time.Now()}
	if as == asHub || as == asAuto && view == nil && isHub(set) {
		opt.Controller, opt.Catalog = manifest.HubController, true
	}
	snapshot, report := manifest.Translate(set, opt)

	list := admin.FindingList{Items: []admin.Finding{}}
	for _, p := range slices.Concat(problems, duplicates, report.Problems(), manifest.Lint(set, snapshot, opt)) {
		list.Items = append(list.Items, admin.Finding(p))
	}
	slices.SortStableFunc(list.Items, compareFindings)
	return list, len(set.Objects()), nil
}

// isHub tells a hub's manifests from a spoke's: only a hub has grants, credentials, clusters and tunnel listeners.
func isHub(set *manifest.Set) bool {
	return slices.ContainsFunc(set.Objects(), func(o manifest.Object) bool {
		switch v := o.Value.(type) {
		case *gwv1.GatewayClass:
			return v.Spec.ControllerName == manifest.HubController
		case *gwv1.Gateway:
			return slices.ContainsFunc(v.Spec.Listeners, func(l gwv1.Listener) bool {
				return string(l.Protocol) == string(route.ProtocolTunnel)
			})
		}
		switch o.ID.Kind {
		case "EgressGrant", "Credential", "Cluster":
			return true
		}
		return false
	})
}
