package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

func (a *app) auditCommand() *cobra.Command {
	var since time.Duration
	var limit int
	cmd := &cobra.Command{
		Use: "audit", GroupID: groupAsk,
		Annotations: offers(formatTable, formatJSON, formatYAML),
		Short:       "Show who changed what: the audit of the hub that answers",
		Long: `Show who changed what. Each change has two records: one before it was made, with the outcome "asked", and one of what came
of it. Each replica of a hub records what it was asked. The whole of it is in the file of admin.auditFile, and its chain of
hashes is checked by: penstock audit verify FILE`,
		Args: none,
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, _ []string) error {
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-since)
			}
			list, err := c.Audit(ctx, from, limit)
			if err != nil {
				return err
			}
			return a.print.print(cmd, list, nil, func(t *table) {
				t.row("TIME", "ACTOR", "ROLE", "VERB", "OBJECT", "OUTCOME")
				for _, r := range list.Items {
					t.row(moment(r.Time), r.Actor, r.Role, r.Verb, r.Object, r.Outcome)
				}
			})
		}),
	}
	cmd.Flags().DurationVar(&since, "since", 0, "show no records older than this, e.g. 24h; 0: any")
	cmd.Flags().IntVar(&limit, "limit", 100, "show at most so many records, the last ones")
	cmd.AddCommand(a.auditVerifyCommand())
	return cmd
}

func (a *app) auditVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "Check the chain of an audit file, without a hub", Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			var first, last admin.AuditRecord
			n := 0
			err = admin.ReadAudit(f, func(r admin.AuditRecord) {
				if n == 0 {
					first = r
				}
				last, n = r, n+1
			})
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if n == 0 {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s has no records\n", args[0])
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d records, %d to %d, each follows from the one before; last hash %s\n", args[0], n, first.Seq, last.Seq, last.Hash)
			return err
		},
	}
}
