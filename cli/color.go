package cli

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// color says whether the output of cmd may be coloured: a terminal, and nobody said no.
func (p *printer) color(cmd *cobra.Command) bool {
	if p.noColor || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	file, ok := cmd.OutOrStdout().(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Color says whether a command of a tree made by New may use colours. It is for commands given in Options.Commands, and
// answers once the flags are parsed.
func Color(cmd *cobra.Command) bool {
	// An unknown flag reads as false: a command outside such a tree.
	noColor, _ := cmd.Flags().GetBool("no-color")
	p := printer{noColor: noColor}
	return p.color(cmd)
}

// The styles. All have the same length, and every cell of a coloured column gets one, because tabwriter counts their
// bytes as width.
const (
	plain  = "\x1b[39m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	reset  = "\x1b[0m"
)

// styled colours one cell; see the styles for when.
func (t *table) styled(style, cell string) string {
	if !t.color {
		return cell
	}
	return style + cell + reset
}

// good, changed and bad words of all columns that are coloured.
func (t *table) state(word string) string {
	switch word {
	case "Ready", "ready", "True", "created", "yes", "allowed":
		return t.styled(green, word)
	case "Pending", "Disconnected", "Suspended", "changed", "Unknown", "connecting", "draining", "suspect":
		return t.styled(yellow, word)
	case "Revoked", "False", "deleted", "no", "refused", "not ready", "failed":
		return t.styled(red, word)
	}
	return t.styled(plain, word)
}
