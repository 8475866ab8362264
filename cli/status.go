package cli

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", GroupID: groupOperate,
		Annotations: offers(formatTable, formatWide, formatJSON, formatYAML),
		Short:       "Show how the hub, its replicas and the clusters do", Args: none,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return a.print.print(cmd, s, nil, func(t *table) { statusText(t, s, a.name) })
		}),
	}
}

func statusText(t *table, s admin.Status, program string) {
	ready := "ready"
	if !s.Ready {
		ready = "not ready"
	}
	t.row("Hub:", s.Name+" ("+dash(s.TrustDomain)+"), version "+dash(s.Version)+", up "+age(s.Started))
	t.row("State:", t.state(ready))
	for _, r := range s.Reasons {
		t.row("", r)
	}
	catalog := s.Catalog.Kind + ", available"
	if !s.Catalog.Available {
		catalog = s.Catalog.Kind + ", away: serving from memory: " + s.Catalog.Error
	}
	t.row("Catalog:", catalog+"; revision "+strconv.FormatInt(s.Revision, 10))
	t.row("Tunnel:", dash(strings.Join(s.Tunnel, ", ")))
	t.row("Join:", dash(strings.Join(s.Join, ", ")))
	t.row("Objects:", dash(objectCounts(s.Objects)))
	if len(s.Replicas) > 0 {
		t.line("")
		t.row("REPLICA", "ADDRESS", "ZONE", "LEADER", "REVISION", "VERSION")
		for _, r := range s.Replicas {
			leader := "no"
			if r.Leader {
				leader = "yes"
			}
			t.row(r.Name, dash(r.Address), dash(r.Zone), leader, dash(zero(r.Revision)), dash(r.Version))
		}
	}
	if len(s.Listen) > 0 {
		t.line("")
		t.row("LISTENER", "PROTOCOL", "ADDRESS")
		for _, l := range s.Listen {
			t.row(l.Name, l.Protocol, l.Address)
		}
	}
	t.line("")
	if len(s.Clusters) == 0 {
		t.line("No cluster is registered; register one with: %s cluster register NAME", program)
	}
	clusterTable(t, s.Clusters)
	if len(s.Problems) > 0 {
		t.line("\nProblems:")
		for _, f := range s.Problems {
			t.line("  %s", t.styled(red, findingLine(f)))
		}
	}
}

func objectCounts(counts map[string]int) string {
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, strconv.Itoa(counts[kind])+" "+kind)
	}
	return strings.Join(out, ", ")
}
