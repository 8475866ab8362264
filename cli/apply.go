package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/manifest"
)

func (a *app) applyCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "apply -f FILE", GroupID: groupObjects,
		Short: "Write manifests into the catalog, all or none",
		Long: `Write manifests into the catalog, all or none. The objects then belong to the owner "cli"; objects of another owner, such
as the hub's folder or a cluster, are refused.`,
		Args: none,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			m, err := a.manifests(cmd, files)
			if err != nil {
				return err
			}
			changes, err := c.Apply(ctx, m)
			if err != nil {
				return err
			}
			return a.printChanges(cmd, changes)
		}),
	}
	fileFlag(cmd, &files)
	return cmd
}

func (a *app) diffCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "diff -f FILE", GroupID: groupObjects,
		Short: "Show what apply would change; exit code 1 if anything",
		Args:  none,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			m, err := a.manifests(cmd, files)
			if err != nil {
				return err
			}
			changes, err := c.Diff(ctx, m)
			if err != nil {
				return err
			}
			differ := slices.ContainsFunc(changes.Items, func(i admin.Change) bool { return i.Change != admin.Unchanged })
			if !differ {
				empty(cmd, "nothing would change; compared %s", count(len(changes.Items), "object"))
			}
			if err := a.print.print(cmd, changes, changeNames(changes), func(t *table) { diffText(t, changes.Items) }); err != nil {
				return err
			}
			if differ {
				return exitError{exitFailed}
			}
			return nil
		}),
	}
	fileFlag(cmd, &files)
	return cmd
}

func diffText(t *table, changes []admin.Change) {
	for _, c := range changes {
		if c.Change == admin.Unchanged {
			continue
		}
		t.line("%s would be %s", c.ObjectKey, t.state(c.Change))
		for _, line := range c.Diff {
			style := plain
			switch {
			case strings.HasPrefix(line, "+"):
				style = green
			case strings.HasPrefix(line, "-"):
				style = red
			}
			t.line("  %s", t.styled(style, line))
		}
	}
}

func (a *app) deleteCommand() *cobra.Command {
	var (
		files     []string
		namespace string
		missingOK bool
	)
	cmd := &cobra.Command{
		Use: "delete (KIND NAME... | -f FILE)", GroupID: groupObjects,
		Short: "Delete objects from the catalog",
		Example: `  penstock delete backend openai -n ai
  penstock delete backend ai/openai
  penstock delete -f catalog/`,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			refs, err := a.toDelete(cmd, files, namespace, args)
			if err != nil {
				return err
			}
			var changes admin.ChangeList
			for _, r := range refs {
				change, deleteErr := c.DeleteObject(ctx, r.kind, r.namespace, r.name)
				if missing(deleteErr) && missingOK {
					continue
				}
				if deleteErr != nil {
					err = deleteErr
					break // what is gone already is still printed
				}
				changes.Items = append(changes.Items, change)
			}
			return errors.Join(a.printChanges(cmd, changes), err)
		}),
	}
	fileFlag(cmd, &files)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of the objects [default]")
	cmd.Flags().BoolVar(&missingOK, "ignore-not-found", false, "an object that is not there is no error")
	return cmd
}

// toDelete lists what the command line names; objects of files in reverse order, so that what refers goes first.
func (a *app) toDelete(cmd *cobra.Command, files []string, namespace string, args []string) ([]objectRef, error) {
	if len(files) > 0 {
		if len(args) > 0 {
			return nil, usagef("give either -f or objects by name")
		}
		return refsOfFiles(cmd, files)
	}
	switch len(args) {
	case 0:
		return nil, usagef("KIND and NAME are missing, or -f")
	case 1:
		return nil, usagef("the name of the %s is missing", lookupKind(args[0]).kind)
	}
	var refs []objectRef
	kind := lookupKind(args[0])
	for _, arg := range args[1:] {
		r, err := refOf(kind, namespace, arg)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	return refs, nil
}

func refsOfFiles(cmd *cobra.Command, files []string) ([]objectRef, error) {
	m, err := readManifests(cmd, files)
	if err != nil {
		return nil, err
	}
	var refs []objectRef
	for _, item := range m.Items {
		objects, problems := manifest.Parse(item.Source, []byte(item.Data))
		if len(problems) > 0 {
			return nil, problems[0]
		}
		for _, o := range objects {
			refs = append(refs, objectRef{o.ID.Kind, o.ID.Namespace, o.ID.Name})
		}
	}
	slices.Reverse(refs)
	return refs, nil
}

// manifests reads what -f names.
func (a *app) manifests(cmd *cobra.Command, files []string) (admin.Manifests, error) {
	if len(files) == 0 {
		return admin.Manifests{}, usagef("-f is missing: a file or folder with manifests, or - for standard input")
	}
	return readManifests(cmd, files)
}

func (a *app) printChanges(cmd *cobra.Command, changes admin.ChangeList) error {
	return a.print.print(cmd, changes, changeNames(changes), func(t *table) {
		for _, c := range changes.Items {
			t.line("%s %s", c.ObjectKey, t.state(c.Change))
		}
	})
}

func changeNames(changes admin.ChangeList) func() []string {
	return func() []string {
		var out []string
		for _, c := range changes.Items {
			out = append(out, shortName(c.ObjectKey))
		}
		return out
	}
}

// shortName is an object with -o name: "backend ai/openai", which delete and get take back.
func shortName(k admin.ObjectKey) string {
	kind := strings.ToLower(k.Kind)
	if k.Namespace == "" {
		return kind + " " + k.Name
	}
	return kind + " " + k.Namespace + "/" + k.Name
}

// missing reports whether the hub said 404.
func missing(err error) bool { return err != nil && exitCode(err) == exitNotFound }
