// Command penstock operates a hub: clusters, credentials, manifests, and why a request was refused. Its code is in cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/cli"
	"penstock.dev/penstock/cli/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := cli.New(cli.Options{
		Program:  os.Args[0],
		Commands: []*cobra.Command{demo.Command(cli.Color)},
	})
	code := cli.Run(ctx, root, os.Args[1:])
	stop()
	os.Exit(code)
}
