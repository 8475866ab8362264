// Command hub is the central gateway: it holds the catalog and the credentials and originates connections to the
// outside. Its one flag names its configuration (apis/config/v1alpha1, HubConfig).
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/hub"
)

// version is set by the linker (-X); "dev" in a plain build.
var version = "dev"

func main() {
	config := flag.String("config", "hub.yaml", "configuration file")
	flag.Parse()
	log.SetOutput(io.Discard) // net/http writes what a peer sent there; all that is ours goes through slog
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := configv1alpha1.LoadHub(*config)
	if err == nil {
		err = hub.Run(ctx, hub.Config{HubConfig: *cfg, Log: os.Stderr, Access: os.Stdout, Version: version})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hub:", err)
		os.Exit(1)
	}
}
