// Command spoke is the gateway next to the workloads: it proves who they are and forwards their requests to the hub. Its
// one flag names its configuration (apis/config/v1alpha1, SpokeConfig).
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
	"penstock.dev/penstock/spoke"
)

// version is set by the linker (-X); "dev" in a plain build.
var version = "dev"

func main() {
	config := flag.String("config", "spoke.yaml", "configuration file")
	flag.Parse()
	log.SetOutput(io.Discard) // net/http writes what a peer sent there; all that is ours goes through slog
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := configv1alpha1.LoadSpoke(*config)
	if err == nil {
		err = spoke.Run(ctx, spoke.Config{SpokeConfig: *cfg, Log: os.Stderr, Access: os.Stdout, Version: version})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "spoke:", err)
		os.Exit(1)
	}
}
