package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock.dev/penstock/apis/admin"
)

// readValue reads the value of a credential from a file, a pipe, or a terminal that does not show it.
func readValue(cmd *cobra.Command, file string) ([]byte, error) {
	value, err := valueFrom(cmd, file)
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	// One line break: what an editor or echo adds. More may belong to the value.
	if v, ok := bytes.CutSuffix(value, []byte("\r\n")); ok {
		value = v
	} else {
		value = bytes.TrimSuffix(value, []byte("\n"))
	}
	if len(value) > admin.MaxCredentialBytes {
		return nil, usagef("the value is longer than %d bytes; is it the right file?", admin.MaxCredentialBytes)
	}
	if len(value) == 0 {
		return nil, usagef("the value is empty; pipe it in, or use --from-file")
	}
	return value, nil
}

func valueFrom(cmd *cobra.Command, file string) ([]byte, error) {
	in := cmd.InOrStdin()
	if file != "" && file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		return readBounded(f)
	}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askTerminal(cmd, int(f.Fd()))
	}
	return readBounded(in)
}

// askTerminal asks for the value with the terminal's echo off.
func askTerminal(cmd *cobra.Command, fd int) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	cmd.PrintErr("Value (not shown): ")
	defer cmd.PrintErrln()
	type answer struct {
		value []byte
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		value, err := term.ReadPassword(fd)
		answered <- answer{value, err}
	}()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-cmd.Context().Done():
		// Nothing can wake a read of a terminal, so the goroutine ends with the process. Its echo must not stay off.
		return nil, errors.Join(context.Cause(cmd.Context()), term.Restore(fd, before))
	}
}

func readBounded(r io.Reader) ([]byte, error) {
	// Two bytes more for a line break, one more to see that it is too long.
	return io.ReadAll(io.LimitReader(r, admin.MaxCredentialBytes+3))
}
