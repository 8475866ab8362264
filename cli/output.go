package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// The values of -o.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatName  = "name"
)

// printer writes results in the format of -o.
type printer struct {
	format  string
	noColor bool
}

func (p *printer) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&p.format, "output", "o", formatTable, "output format: table, wide, json, yaml or name")
	f.BoolVar(&p.noColor, "no-color", false, "no colours (also NO_COLOR; off anyway when the output is no terminal)")
	formats := []string{formatTable, formatWide, formatJSON, formatYAML, formatName}
	// The only error is a flag that does not exist, or a second function for it.
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// annotationFormats lists, in a command's annotations, the formats it offers where these are not all.
const annotationFormats = "penstock.dev/formats"

// offers annotates a command that does not offer all formats.
func offers(formats ...string) map[string]string {
	return map[string]string{annotationFormats: strings.Join(formats, ", ")}
}

// check refuses a format that cmd does not offer before anything is sent.
func (p *printer) check(cmd *cobra.Command) error {
	offered, ok := cmd.Annotations[annotationFormats]
	if !ok {
		offered = strings.Join([]string{formatTable, formatWide, formatJSON, formatYAML, formatName}, ", ")
	}
	if !slices.Contains(strings.Split(offered, ", "), p.format) {
		return usagef("%s does not print %q; use one of %s", cmd.CommandPath(), p.format, offered)
	}
	return nil
}

// print writes value as -o says. names are for -o name, where the command offers it; draw writes the two formats for people.
func (p *printer) print(cmd *cobra.Command, value any, names func() []string, draw func(t *table)) error {
	out := cmd.OutOrStdout()
	switch p.format {
	case formatJSON:
		return writeJSON(out, value)
	case formatYAML:
		data, err := yaml.Marshal(value)
		if err != nil {
			return fmt.Errorf("print as YAML: %w", err)
		}
		_, err = out.Write(data)
		return err
	case formatName:
		for _, n := range names() {
			if _, err := fmt.Fprintln(out, n); err != nil {
				return err
			}
		}
		return nil
	}
	t := &table{w: tabwriter.NewWriter(out, 0, 0, 3, ' ', 0), wide: p.format == formatWide, color: p.color(cmd)}
	draw(t)
	t.flush()
	return t.err
}

func writeJSON(out io.Writer, value any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	return nil
}

// table is text in columns.
type table struct {
	w     *tabwriter.Writer
	wide  bool
	color bool
	// err is the first error of a write, so that a full disk is not taken for success.
	err error
}

// row writes one row; the last cell is not padded.
func (t *table) row(cells ...string) {
	_, err := io.WriteString(t.w, strings.Join(cells, "\t")+"\n")
	t.note(err)
}

// line writes a line that is no row and ends the columns before it.
func (t *table) line(format string, args ...any) {
	t.flush()
	_, err := fmt.Fprintf(t.w, format+"\n", args...)
	t.note(err)
	t.flush()
}

func (t *table) flush() { t.note(t.w.Flush()) }

func (t *table) note(err error) {
	if t.err == nil {
		t.err = err
	}
}

// empty tells people what is missing; programs see an empty standard output.
func empty(cmd *cobra.Command, format string, args ...any) {
	cmd.PrintErrf(format+"\n", args...)
}

// dash is a cell that must not be empty: columns would shift for a reader that splits at spaces.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count is "1 finding", "2 findings".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
