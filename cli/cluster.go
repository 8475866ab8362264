package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

func (a *app) clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cluster", Aliases: []string{"clusters"}, GroupID: groupOperate,
		Short: "Register clusters, look at them, cut them off",
		Args:  subcommand, RunE: help,
	}
	cmd.AddCommand(
		a.registerCommand(), a.recoverCommand(), a.clusterListCommand(), a.clusterShowCommand(),
		a.clusterVerb("suspend", "Cut a cluster's tunnels and keep it out until it is resumed", "suspended", (*admin.Client).SuspendCluster),
		a.clusterVerb("resume", "Let a suspended cluster in again", "resumed", (*admin.Client).ResumeCluster),
		a.clusterVerb("revoke", "Cut a cluster's tunnels and revoke its certificates and tokens for good", "revoked", (*admin.Client).RevokeCluster),
	)
	return cmd
}

func (a *app) clusterListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the registered clusters", Args: none,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			list, err := c.Clusters(ctx)
			if err != nil {
				return err
			}
			if len(list.Items) == 0 {
				empty(cmd, "no cluster is registered; register one with: %s cluster register NAME", a.name)
			}
			names := func() []string {
				var out []string
				for _, i := range list.Items {
					out = append(out, i.Name)
				}
				return out
			}
			return a.print.print(cmd, list, names, func(t *table) { clusterTable(t, list.Items) })
		}),
	}
}

func clusterTable(t *table, clusters []admin.Cluster) {
	if len(clusters) == 0 {
		return
	}
	head := []string{"NAME", "ROLE", t.styled(plain, "STATE"), "INSTANCES", "AGE"}
	if t.wide {
		head = append(head, "LABELS", "SOURCE-IP", "TOKEN-EXPIRES")
	}
	t.row(head...)
	for _, c := range clusters {
		row := []string{c.Name, dash(c.Role), t.state(c.State), strconv.Itoa(len(c.Instances)), age(c.Created)}
		if t.wide {
			row = append(row, dash(labelText(c.Labels)), dash(c.SourceIP), until(c.TokenExpires))
		}
		t.row(row...)
	}
}

func (a *app) clusterShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a cluster and its connected gateways", Args: exactly("NAME"),
		ValidArgsFunction: a.completeClusters,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			cluster, err := c.Cluster(ctx, args[0])
			if err != nil {
				return err
			}
			names := func() []string { return []string{cluster.Name} }
			return a.print.print(cmd, cluster, names, func(t *table) { clusterDetails(t, cluster) })
		}),
	}
}

func clusterDetails(t *table, c admin.Cluster) {
	t.row("Name:", c.Name)
	t.row("Role:", dash(c.Role))
	t.row("State:", t.state(c.State))
	t.row("Labels:", dash(labelText(c.Labels)))
	t.row("Source IP:", sourceIPText(c.SourceIP))
	t.row("Registered:", moment(c.Created))
	t.row("Join token:", tokenText(c.TokenExpires))
	if len(c.Instances) == 0 {
		t.line("Gateways:   none connected")
		return
	}
	t.line("Gateways:")
	head := []string{"  INSTANCE", "HUB", "TRANSPORT", "LANES", "RTT", "REVISION", "CERTIFICATE", "CONNECTED"}
	if t.wide {
		head = append(head, "VERSION", "GROUP")
	}
	t.row(head...)
	for _, i := range c.Instances {
		row := []string{"  " + i.ID, dash(i.Hub), dash(i.Transport), dash(zero(int64(i.Lanes))), rtt(i.RTTMillis), dash(zero(i.Revision)), until(i.NotAfter), age(i.Since)}
		if t.wide {
			row = append(row, dash(i.Version), dash(i.Group))
		}
		t.row(row...)
	}
}

// clusterVerb is a command that changes the state of one cluster.
func (a *app) clusterVerb(verb, short, done string, call func(*admin.Client, context.Context, string) (admin.Cluster, error)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: exactly("NAME"),
		ValidArgsFunction: a.completeClusters,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			cluster, err := call(c, ctx, args[0])
			if err != nil {
				return err
			}
			names := func() []string { return []string{cluster.Name} }
			return a.print.print(cmd, cluster, names, func(t *table) { t.line("cluster %s %s", cluster.Name, done) })
		}),
	}
}

// completeClusters offers the names of clusters to a shell; without a hub it offers none.
func (a *app) completeClusters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client, err := a.conn.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	// A person waits at the prompt.
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	list, err := client.Clusters(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, c := range list.Items {
		names = append(names, c.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, ",")
}

func sourceIPText(s string) string {
	if s == "" {
		return "not trusted"
	}
	return s
}

func tokenText(expires time.Time) string {
	switch {
	case expires.IsZero():
		return "none"
	case time.Until(expires) <= 0:
		return "expired, unused"
	}
	return "unused, valid for " + until(expires)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// until prints how long it is until t.
func until(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := time.Until(t)
	if d <= 0 {
		return "expired"
	}
	return age(time.Now().Add(-d))
}

// zero prints nothing for 0.
func zero(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func rtt(millis float64) string {
	if millis == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fms", millis)
}
