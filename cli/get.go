package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

func (a *app) getCommand() *cobra.Command {
	var (
		namespace string
		all       bool
	)
	cmd := &cobra.Command{
		Use: "get [KIND [NAME...]]", GroupID: groupObjects,
		Short: "Show objects of the catalog with their status",
		Long: `Show objects of the catalog with their status. Without NAME those of all namespaces, unless -n names one; without KIND
every kind. With -o yaml or json an object is printed as it can be applied again.`,
		Example: `  penstock get backends
  penstock get backend ai/openai -o yaml`,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if all && namespace != "" {
				return usagef("-n and -A exclude each other")
			}
			if len(args) < 2 {
				return a.list(ctx, c, cmd, namespace, args)
			}
			kind := lookupKind(args[0])
			var list admin.ObjectList
			for _, arg := range args[1:] {
				r, err := refOf(kind, namespace, arg)
				if err != nil {
					return err
				}
				o, err := c.Object(ctx, r.kind, r.namespace, r.name)
				if err != nil {
					return err
				}
				list.Items = append(list.Items, o)
			}
			return a.printObjects(cmd, list, len(list.Items) == 1)
		}),
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace")
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "all namespaces: what lists do anyway")
	return cmd
}

func (a *app) list(ctx context.Context, c *admin.Client, cmd *cobra.Command, namespace string, args []string) error {
	kind, what := "", "objects"
	if len(args) > 0 {
		kind = lookupKind(args[0]).kind
		what = kind + " objects"
	}
	list, err := c.Objects(ctx, kind, namespace)
	if err != nil {
		return err
	}
	if len(list.Items) == 0 {
		empty(cmd, "no %s%s; write some with: %s apply -f FILE", what, inNamespace(namespace), a.name)
	}
	return a.printObjects(cmd, list, false)
}

// printObjects prints objects; one alone as itself, several as a List, as kubectl does.
func (a *app) printObjects(cmd *cobra.Command, list admin.ObjectList, one bool) error {
	names := func() []string {
		var out []string
		for _, o := range list.Items {
			out = append(out, shortName(o.ObjectKey))
		}
		return out
	}
	var value any
	if f := a.print.format; f == formatJSON || f == formatYAML {
		items := make([]any, 0, len(list.Items))
		for _, o := range list.Items {
			item, err := withStatus(o)
			if err != nil {
				return err
			}
			items = append(items, item)
		}
		value = map[string]any{"apiVersion": "v1", "kind": "List", "items": items}
		if one {
			value = items[0]
		}
	}
	return a.print.print(cmd, value, names, func(t *table) { objectTable(t, list.Items) })
}

// withStatus is the manifest with the conditions in the place where a cluster has them; apply ignores them there.
func withStatus(o admin.Object) (any, error) {
	var tree map[string]any
	if err := json.Unmarshal(o.Manifest, &tree); err != nil {
		return nil, fmt.Errorf("the hub's answer: %s is no object: %w", o.ObjectKey, err)
	}
	if len(o.Conditions) > 0 {
		tree["status"] = map[string]any{"conditions": o.Conditions}
	}
	return tree, nil
}

func objectTable(t *table, objects []admin.Object) {
	if len(objects) == 0 {
		return
	}
	mixed := slices.ContainsFunc(objects, func(o admin.Object) bool { return o.Kind != objects[0].Kind })
	head := []string{"NAMESPACE", "NAME", t.styled(plain, "ACCEPTED"), t.styled(plain, "PROGRAMMED"), "OWNER", "AGE"}
	if mixed {
		head = slices.Insert(head, 0, "KIND")
	}
	if t.wide {
		head = append(head, "REVISION", "REASON")
	}
	t.row(head...)
	for _, o := range objects {
		row := []string{dash(o.Namespace), o.Name, t.state(conditionOf(o, "Accepted")), t.state(conditionOf(o, "Programmed")), dash(o.Owner), age(o.Created)}
		if mixed {
			row = slices.Insert(row, 0, o.Kind)
		}
		if t.wide {
			row = append(row, dash(zero(o.Revision)), dash(complaints(o)))
		}
		t.row(row...)
	}
}

func conditionOf(o admin.Object, name string) string {
	for _, c := range o.Conditions {
		if c.Type == name {
			return c.Status
		}
	}
	return "-"
}

// complaints are the conditions that are not as they should be.
func complaints(o admin.Object) string {
	var out []string
	for _, c := range o.Conditions {
		if bad := c.Status != "True"; bad != (c.Type == "Degraded") {
			out = append(out, strings.TrimSuffix(c.Type+"="+c.Status+" "+c.Reason+": "+c.Message, ": "))
		}
	}
	return strings.Join(out, "; ")
}
