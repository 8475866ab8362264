package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one finding about one object: what is wrong, where it is written, and what to do. It is an error, so that
// a caller may wrap it; use errors.As to reach the fields. The zero value says nothing.
type Problem struct {
	// File the object came from, as the caller of Parse named it; empty if it came from no file.
	File string
	// Line in File, counted from 1; 0: not known.
	Line int
	// Object is "Kind namespace/name", or "Kind name" for kinds without namespace; empty if it has no readable name.
	Object string
	// Field is the path of the field at fault, such as "spec.rules[0].filters[1]"; empty: the object as a whole.
	Field string
	// Reason is one CamelCase word that tools may branch on; in a cluster it is the reason of a condition.
	Reason string
	// Message says what is wrong. It never holds secret bytes.
	Message string
	// Remedy says what to write or do instead.
	Remedy string
	// Severity is empty for what is refused or left out, SeverityWarning for what is served as it is written.
	Severity string `json:",omitempty"`
}

// SeverityWarning marks a finding that costs nothing but attention.
const SeverityWarning = "warning"

// String is the finding on one line:
//
//	manifests/payments.yaml:7: Backend billing/payments: spec.externalHostname.hostname: "api" is not a full name; write e.g. "api.example.com"
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Severity != "" {
		b.WriteString(p.Severity + ": ")
	}
	if p.Object != "" {
		b.WriteString(p.Object + ": ")
	}
	b.WriteString(p.text())
	return b.String()
}

// Error is String.
func (p Problem) Error() string { return p.String() }

// text is the part that a condition on the object itself shows: field, message and remedy.
func (p Problem) text() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Remedy != "" {
		s += "; " + p.Remedy
	}
	return s
}

// compareProblems orders findings by where they are written, then by what they say.
func compareProblems(a, b Problem) int {
	return cmp.Or(
		strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Object, b.Object),
		strings.Compare(a.Field, b.Field), strings.Compare(a.Reason, b.Reason), strings.Compare(a.Message, b.Message),
	)
}

// sortProblems sorts findings and drops exact repeats: one mistake may be met on several ways through the table.
func sortProblems(ps []Problem) []Problem {
	slices.SortFunc(ps, compareProblems)
	return slices.Compact(ps)
}
