package cli

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

func (a *app) explainCommand() *cobra.Command {
	var (
		req      admin.ExplainRequest
		exitCode bool
	)
	cmd := &cobra.Command{
		Use: "explain CLUSTER/NAMESPACE/SERVICEACCOUNT URL", GroupID: groupAsk,
		Annotations: offers(formatTable, formatJSON, formatYAML),
		Short:       "Say what would happen to a request, without sending it",
		Long: `Say what would happen to a request, without sending it: route, grant, filters in their order, credential and next hop,
or why it would be refused and what to change. The answer comes from the code and the table that decide about real
requests.`,
		Example: `  penstock explain east/team-a/bot http://openai/v1/models
  penstock explain east/team-a/bot http://openai/v1/files --method DELETE --proof ip`,
		Args: exactly("CLUSTER/NAMESPACE/SERVICEACCOUNT", "URL"),
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			if err := fillExplain(&req, args[0], args[1]); err != nil {
				return err
			}
			e, err := c.Explain(ctx, req)
			if err != nil {
				return err
			}
			if err := a.print.print(cmd, e, nil, func(t *table) { explainText(t, req, e) }); err != nil {
				return err
			}
			if exitCode && !e.Allowed {
				return exitError{exitRefused}
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&req.Method, "method", "X", "GET", "method of the request")
	f.StringVar(&req.Proof, "proof", "token", "how the workload proves itself: ip, token or spiffe")
	f.BoolVar(&exitCode, "exit-code", false, "end with exit code 5 when the request would be refused")
	return cmd
}

func fillExplain(req *admin.ExplainRequest, caller, target string) error {
	parts := strings.Split(caller, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return usagef("%q is not CLUSTER/NAMESPACE/SERVICEACCOUNT", caller)
	}
	switch req.Proof {
	case "ip", "token", "spiffe":
	default:
		return usagef("proof %q does not exist; use ip, token or spiffe", req.Proof)
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return usagef("%q is not an absolute URL; write e.g. http://openai/v1/models", target)
	}
	req.Cluster, req.Namespace, req.ServiceAccount, req.URL = parts[0], parts[1], parts[2], target
	req.Method = strings.ToUpper(req.Method)
	return nil
}

func explainText(t *table, req admin.ExplainRequest, e admin.Explanation) {
	verdict := t.state("allowed")
	if !e.Allowed {
		verdict = fmt.Sprintf("%s with %d %s", t.state("refused"), e.Status, e.Reason)
	}
	t.line("%s %s as %s/%s/%s (%s): %s", req.Method, req.URL, req.Cluster, req.Namespace, req.ServiceAccount, req.Proof, verdict)
	for _, r := range [][2]string{
		{"why", e.Message},
		{"remedy", e.Remedy},
		{"listener", e.Listener},
		{"route", e.Route},
		{"rule", e.Rule},
		{"grant", e.Grant},
		{"backend", e.Backend},
		{"credential", e.Credential},
		{"next hop", e.NextHop},
		{"bounds", bounds(e)},
		{"repeats", e.Retries},
	} {
		if r[1] != "" {
			t.row("  "+r[0], r[1])
		}
	}
	if len(e.Targets) > 1 {
		t.line("")
		t.row("BACKEND", "WEIGHT", "INVALID")
		for _, b := range e.Targets {
			t.row(dash(b.Backend), strconv.Itoa(b.Weight), dash(b.Invalid))
		}
	}
	if len(e.Filters) == 0 {
		return
	}
	t.line("")
	t.row("FILTER", "PHASE", "PRIORITY", "FAIL-OPEN", "TYPE", "FROM")
	for i, f := range e.Filters {
		failOpen := "no"
		if f.FailOpen {
			failOpen = "yes"
		}
		t.row(strconv.Itoa(i+1)+" "+dash(f.Name), f.Phase, strconv.Itoa(f.Priority), failOpen, f.Type, dash(f.From))
	}
}

func bounds(e admin.Explanation) string {
	var out []string
	if e.Attempts > 0 {
		out = append(out, count(e.Attempts, "attempt"))
	}
	if e.ResponseHeadersMillis > 0 {
		out = append(out, fmt.Sprintf("%s to response headers", time.Duration(e.ResponseHeadersMillis)*time.Millisecond))
	}
	return strings.Join(out, ", ")
}
