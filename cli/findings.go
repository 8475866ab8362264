package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/manifest"
)

// printFindings prints findings; any of them but warnings is exit code 1.
func (a *app) printFindings(cmd *cobra.Command, list admin.FindingList, checked string) error {
	err := a.print.print(cmd, list, nil, func(t *table) {
		for _, f := range list.Items {
			t.line("%s", findingLine(f))
		}
	})
	if err != nil {
		return err
	}
	warnings := 0
	for _, f := range list.Items {
		if f.Severity == manifest.SeverityWarning {
			warnings++
		}
	}
	switch n := len(list.Items) - warnings; {
	case n > 0:
		empty(cmd, "%s; checked %s", count(n, "finding"), checked)
		return exitError{exitFailed}
	case warnings > 0:
		empty(cmd, "%s; checked %s", count(warnings, "warning"), checked)
		return nil
	}
	empty(cmd, "no findings; checked %s", checked)
	return nil
}

// findingLine is "file:line: object: field: message; remedy".
func findingLine(f admin.Finding) string { return manifest.Problem(f).String() }

func compareFindings(a, b admin.Finding) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object))
}
