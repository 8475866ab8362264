package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

func (a *app) credentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "credential", Aliases: []string{"credentials", "cred"}, GroupID: groupOperate,
		Short: "Set, rotate and list credentials; never shows a value",
		Args:  subcommand, RunE: help,
	}
	cmd.AddCommand(
		a.credentialValueCommand("set", "Set the value of a credential", "set", (*admin.Client).SetCredential),
		a.credentialValueCommand("rotate", "Replace the value of a credential that has one", "rotated", (*admin.Client).RotateCredential),
		a.credentialListCommand(),
	)
	// The text of a flag error quotes what was typed, and here that may be the value (-sk-...).
	cmd.SetFlagErrorFunc(func(*cobra.Command, error) error {
		return usagef("a flag that does not exist or lacks its value; a credential's value comes from standard input or --from-file")
	})
	return cmd
}

type setter = func(c *admin.Client, ctx context.Context, namespace, name string, value []byte) (admin.Credential, error)

func (a *app) credentialValueCommand(verb, short, done string, set setter) *cobra.Command {
	var namespace, fromFile string
	cmd := &cobra.Command{
		Use:   verb + " NAMESPACE/NAME",
		Short: short,
		Long: short + `.

The value is read from standard input, or from --from-file; on a terminal it is asked for and not shown. One line break
at its end is dropped. It never goes on the command line: shell history and process lists would keep it.`,
		Example: `  penstock credential ` + verb + ` ai/openai-key < key
  pass show openai | penstock credential ` + verb + ` ai/openai-key`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("a credential's value never goes on the command line; pipe it in, or use --from-file, and replace the one just typed: the shell's history has it")
			}
			return exactly("NAMESPACE/NAME")(nil, args)
		},
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			namespace, name, err := namespacedName(namespace, args[0])
			if err != nil {
				return err
			}
			value, err := readValue(cmd, fromFile)
			if err != nil {
				return err
			}
			credential, err := set(c, ctx, namespace, name, value)
			if err != nil {
				return withoutValue(err, value)
			}
			names := func() []string { return []string{credential.Namespace + "/" + credential.Name} }
			return a.print.print(cmd, credential, names, func(t *table) {
				t.line("credential %s/%s %s; version %s", credential.Namespace, credential.Name, done, dash(credential.Version))
			})
		}),
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "namespace of the credential, when NAME stands alone")
	cmd.Flags().StringVar(&fromFile, "from-file", "", "file with the value; - is standard input")
	return cmd
}

// withoutValue is the last line of defence: should an answer repeat the value it was given, it is not printed.
func withoutValue(err error, value []byte) error {
	if len(value) >= 4 && strings.Contains(err.Error(), string(value)) {
		var e *admin.Error
		if errors.As(err, &e) {
			return &admin.Error{Status: e.Status, Code: e.Code, Message: "the hub refused the value, with a text that repeats it and is therefore not shown"}
		}
		return errors.New("failed, with a text that repeats the value and is therefore not shown")
	}
	return err
}

func (a *app) credentialListCommand() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List credentials: where each may go, and the version in use", Args: none,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			list, err := c.Credentials(ctx, namespace)
			if err != nil {
				return err
			}
			if len(list.Items) == 0 {
				empty(cmd, "no credentials%s; apply a Credential, then give it a value with: %s credential set NAMESPACE/NAME", inNamespace(namespace), a.name)
			}
			names := func() []string {
				var out []string
				for _, i := range list.Items {
					out = append(out, i.Namespace+"/"+i.Name)
				}
				return out
			}
			return a.print.print(cmd, list, names, func(t *table) { credentialTable(t, list.Items) })
		}),
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace")
	return cmd
}

func credentialTable(t *table, credentials []admin.Credential) {
	if len(credentials) == 0 {
		return
	}
	head := []string{"NAMESPACE", "NAME", "KIND", "VERSION", "AGE", "HOSTS"}
	if t.wide {
		head = append(head, "VERSIONS")
	}
	t.row(head...)
	for _, c := range credentials {
		version, since := "none", "-"
		if c.Version != "" {
			version = c.Version
		}
		var versions []string
		for _, v := range c.Versions {
			if v.Version == c.Version {
				since = age(v.Created)
			}
			versions = append(versions, v.Version)
		}
		row := []string{c.Namespace, c.Name, dash(c.Kind), version, since, dash(strings.Join(c.Hosts, ","))}
		if t.wide {
			row = append(row, dash(strings.Join(versions, ",")))
		}
		t.row(row...)
	}
}

// namespacedName splits "namespace/name"; a bare name needs the flag.
func namespacedName(flag, arg string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(arg, "/")
	if !ok {
		namespace, name = flag, arg
	} else if flag != "" && flag != namespace {
		return "", "", usagef("the namespace is %s in %s and %s in -n", namespace, arg, flag)
	}
	if namespace == "" {
		return "", "", usagef("the namespace of %q is missing; write NAMESPACE/NAME", arg)
	}
	if name == "" || strings.Contains(name, "/") {
		return "", "", usagef("%q is not NAMESPACE/NAME", arg)
	}
	return namespace, name, nil
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %s", namespace)
}
