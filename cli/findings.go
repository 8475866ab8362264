package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/manifest"
)

// printFindings prints findings; an error among them is exit code 1, and so is a warning if strict.
func (a *app) printFindings(cmd *cobra.Command, list admin.FindingList, strict bool, checked string) error {
	err := a.print.print(cmd, list, nil, func(t *table) {
		for _, f := range list.Items {
			style := red
			if f.Severity == manifest.SeverityWarning {
				style = yellow
			}
			t.line("%s", t.styled(style, findingLine(f)))
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
	findings := len(list.Items) - warnings
	var said []string
	if findings > 0 {
		said = append(said, count(findings, "finding"))
	}
	if warnings > 0 {
		said = append(said, count(warnings, "warning"))
	}
	if said == nil {
		said = []string{"no findings"}
	}
	empty(cmd, "%s; checked %s", strings.Join(said, ", "), checked)
	if findings > 0 || strict && warnings > 0 {
		return exitError{exitFailed}
	}
	return nil
}

// findingLine is "file:line: object: field: message; remedy".
func findingLine(f admin.Finding) string { return manifest.Problem(f).String() }

func compareFindings(a, b admin.Finding) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Object, b.Object))
}
