package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Version of this program, set by the linker (-X); "dev" in a plain build.
var Version = "dev"

// Options of New. The zero value is a command called penstock on the standard streams.
type Options struct {
	// Program is the path the program was started by; it decides how the usage texts call it ["penstock"].
	Program string
	// In, Out and Err replace the standard streams; nil: the process's own.
	In       io.Reader
	Out, Err io.Writer
	// Commands are further commands of the root.
	Commands []*cobra.Command
}

// app is what the commands share: the streams of the root command and the global flags.
type app struct {
	// name the user knows the program by: "penstock" or "kubectl penstock".
	name  string
	conn  connection
	print printer
}

// New makes the command tree. Execute it with Run, which knows the exit codes.
func New(opt Options) *cobra.Command {
	a := &app{name: "penstock"}
	root := &cobra.Command{
		Use:   "penstock",
		Short: "Operate Penstock, the multi-cluster egress hub",
		Long: `Operate Penstock, the multi-cluster egress hub: register clusters, set credentials, apply and check manifests, and
ask why a request was, or would be, refused.

Say how to reach the hub with --socket (or PENSTOCK_SOCKET): admin.socket of its configuration, by default admin.sock
in its stateDir; or from elsewhere with --address, --ca-file and --token-file.

Exit codes: 0 done, 1 failed or findings, 2 wrong usage, 3 the hub does not answer, 4 not found, 5 refused or conflict.`,
		SilenceErrors: true, // Run prints them
		SilenceUsage:  true,
		Args:          subcommand,
		RunE:          help,
	}
	// kubectl finds plugins as kubectl-<name>; usage must then say what the user types.
	if strings.HasPrefix(filepath.Base(opt.Program), "kubectl-") {
		a.name = "kubectl penstock"
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: a.name}
	}
	root.SetIn(opt.In)
	root.SetOut(opt.Out)
	root.SetErr(opt.Err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	a.conn.flags(root)
	a.print.flags(root)
	root.AddGroup(
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
		&cobra.Group{ID: groupObjects, Title: "Objects:"},
		&cobra.Group{ID: groupAsk, Title: "Ask:"},
	)
	root.AddCommand(
		a.clusterCommand(), a.credentialCommand(),
		a.applyCommand(), a.getCommand(), a.diffCommand(), a.deleteCommand(), a.validateCommand(),
		a.statusCommand(), a.explainCommand(), a.whyCommand(), a.auditCommand(),
		a.versionCommand(),
	)
	root.AddCommand(opt.Commands...)
	return root
}

// The groups of the root's help.
const (
	groupOperate = "operate"
	groupObjects = "objects"
	groupAsk     = "ask"
)

// Run executes a command tree made by New with args (without the program's name), prints its error, and returns the exit
// code. The command ends when ctx does.
func Run(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	report(cmd, err)
	return exitCode(err)
}

// help is what a command does that only holds others.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// subcommand refuses what is no subcommand; cobra alone would print the help and call it done.
func subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		text += fmt.Sprintf("; did you mean %q?", s[0])
	}
	return usagef("%s", text)
}

// exactly is cobra.ExactArgs with names: what is missing is said by name, and what is too much is not repeated, since
// it may be a secret.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("%d arguments where %d are expected", len(args), len(names))
		}
		return nil
	}
}

func none(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is one argument too many", args[0])
	}
	return nil
}

// age prints how long ago t was, as kubectl does; "-" for the zero time.
func age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Since(t)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
