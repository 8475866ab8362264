package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
)

func (a *app) whyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "why REQUEST-ID", GroupID: groupAsk,
		Annotations: offers(formatTable, formatJSON, formatYAML),
		Short:       "Say why a request was refused, by the request id of its answer",
		Long: `Say why a request was refused. Every refusal carries a request id: in the header X-Request-Id and in the body. The hub
remembers its last 10,000 refusals, and those that spokes report.`,
		Args: exactly("REQUEST-ID"),
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			list, err := c.Why(ctx, args[0])
			if err != nil {
				return err
			}
			return a.print.print(cmd, list, nil, func(t *table) {
				for i, r := range list.Items {
					if i > 0 {
						t.line("")
					}
					refusalText(t, r)
				}
			})
		}),
	}
}

func refusalText(t *table, r control.Refusal) {
	t.line("request %s: %s with %d %s", r.RequestID, t.state("refused"), r.Status, r.Reason)
	caller := fmt.Sprintf("%s/%s/%s", dash(r.Cluster), dash(r.Namespace), dash(r.ServiceAccount))
	if r.Proof == "" {
		caller += " (unproven)"
	} else {
		caller += " (" + r.Proof + ")"
	}
	for _, row := range [][2]string{
		{"why", r.Detail},
		{"remedy", r.Remedy},
		{"when", moment(r.Time)},
		{"gateway", r.Gateway},
		{"caller", caller},
		{"request", r.Method + " " + r.Host + r.Path},
		{"route", r.Route},
		{"backend", r.Backend},
	} {
		if row[1] != "" {
			t.row("  "+row[0], row[1])
		}
	}
}
