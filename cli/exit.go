package cli

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

// The exit codes, part of the interface.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNotFound    = 4
	exitRefused     = 5
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError ends the program with a code and prints nothing more: the command has said everything.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// exitCode is the code for what a command returned.
func exitCode(err error) int {
	var (
		usage   usageError
		exit    exitError
		refusal *admin.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, admin.ErrUnreachable):
		return exitUnreachable
	case errors.As(err, &refusal):
		switch refusal.Status {
		case http.StatusNotFound:
			return exitNotFound
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
			return exitRefused
		}
	}
	return exitFailed
}

// report prints an error for people: what failed, then on a line of its own what to do.
func report(cmd *cobra.Command, err error) {
	if err == nil || errors.As(err, new(exitError)) {
		return
	}
	var refusal *admin.Error
	switch {
	case errors.As(err, new(usageError)):
		cmd.PrintErrf("error: %v\nsee: %s --help\n", err, cmd.CommandPath())
	case errors.As(err, &refusal):
		cmd.PrintErrf("error: %s\n", refusal.Message)
		for _, f := range refusal.Findings {
			cmd.PrintErrf("  %s\n", findingLine(f))
		}
		if refusal.Remedy != "" {
			cmd.PrintErrf("remedy: %s\n", refusal.Remedy)
		}
	default:
		cmd.PrintErrf("error: %v\n", err)
	}
}
