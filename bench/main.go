package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	var (
		cfg    config
		p      part
		chains = flag.String("chains", "direct,go-h2,penstock", "chains to measure, in this order")
		bulk   = flag.Int64("bulk", 256, "size of a large body in MiB")
		role   = flag.String("role", "", "what bench starts itself as: upstream, proxy-spoke or proxy-hub")
	)
	flag.StringVar(&cfg.bin, "bin", "bin", "folder with hub, spoke and penstock")
	flag.DurationVar(&cfg.duration, "duration", 10*time.Second, "length of each load, after a warm-up of a fifth of it")
	flag.IntVar(&cfg.conns, "conns", 64, "connections of the loads of small requests")
	flag.IntVar(&cfg.rate, "rate", 1000, "requests a second of the open loop")
	flag.IntVar(&cfg.rounds, "rounds", 1, "rounds through all chains; the report shows medians")
	flag.StringVar(&cfg.out, "out", "", "file to write the report to (Markdown)")
	flag.StringVar(&cfg.profiles, "profiles", "", "folder for CPU profiles of our spoke and hub under the closed loop")
	flag.BoolVar(&cfg.keep, "keep", false, "keep the folder with logs, configuration and keys of the run")
	flag.IntVar(&cfg.routes, "routes", 0, "measure the routing table alone, with so many routes, beside one of ten; no program is started")
	flag.IntVar(&cfg.lookups, "lookups", 1_000_000, "with -routes: lookups in each table")
	flag.StringVar(&p.dir, "certs", "", "with -role: folder with certificates and the upstream's key")
	flag.StringVar(&p.next, "next", "", "with -role: address of the next hop")
	flag.Parse()
	cfg.bulk = *bulk << 20
	cfg.chains = strings.Split(*chains, ",")
	cfg.command = "go run ./bench " + strings.Join(os.Args[1:], " ")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *role != "":
		err = p.serve(ctx, *role)
	case cfg.routes > 0:
		err = runRoutes(ctx, cfg, os.Stdout)
	default:
		err = run(ctx, cfg, os.Stdout)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}
