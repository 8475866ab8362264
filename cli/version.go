package cli

import (
	"context"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

// versions is the answer of version.
type versions struct {
	Client admin.Version  `json:"client"`
	Hub    *admin.Version `json:"hub,omitempty"`
}

func (a *app) versionCommand() *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use: "version", GroupID: groupAsk,
		Short: "Show the versions of this program and of the hub", Args: none, Annotations: offers(formatTable, formatWide, formatJSON, formatYAML),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.print.check(cmd); err != nil {
				return err
			}
			v := versions{Client: clientVersion()}
			if clientOnly {
				return a.printVersions(cmd, v)
			}
			return a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
				hub, err := c.Version(ctx)
				if err == nil {
					v.Hub = &hub
				}
				// What is known is printed even when the hub is away.
				if printErr := a.printVersions(cmd, v); printErr != nil {
					return printErr
				}
				return err
			})(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "of this program alone, without asking the hub")
	return cmd
}

func (a *app) printVersions(cmd *cobra.Command, v versions) error {
	return a.print.print(cmd, v, nil, func(t *table) {
		head, client := []string{"PROGRAM", "VERSION"}, []string{a.name, v.Client.Version}
		if t.wide {
			head, client = append(head, "COMMIT", "GO"), append(client, dash(v.Client.Commit), v.Client.Go)
		}
		t.row(head...)
		t.row(client...)
		if v.Hub != nil {
			hub := []string{"hub " + v.Hub.Name, v.Hub.Version}
			if t.wide {
				hub = append(hub, dash(v.Hub.Commit), dash(v.Hub.Go))
			}
			t.row(hub...)
		}
	})
}

func clientVersion() admin.Version {
	v := admin.Version{Version: Version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}
