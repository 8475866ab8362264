package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// config of a run.
type config struct {
	bin      string // folder with our programs
	chains   []string
	duration time.Duration
	conns    int
	rate     int   // requests a second of the open loop
	bulk     int64 // bytes of a large body
	rounds   int
	out      string // "": no report
	profiles string // "": none
	keep     bool   // the folder with logs stays
	command  string // as it was called, for the report

	routes, lookups int // of the table alone, with -routes
}

// check refuses what could not be measured.
func (c config) check() error {
	switch {
	case c.duration < time.Second:
		return fmt.Errorf("-duration %s is too short for CPU times, which come in steps of %s; use at least 1s", c.duration, tick)
	case c.conns < 1 || c.conns > 1024:
		return fmt.Errorf("-conns %d is not between 1 and 1024", c.conns)
	case c.rate < 1 || c.rate > 10_000:
		return fmt.Errorf("-rate %d is not between 1 and 10000", c.rate)
	case c.bulk < 1:
		return fmt.Errorf("-bulk %d is less than 1 MiB", c.bulk>>20)
	case c.rounds < 1:
		return fmt.Errorf("-rounds %d is less than 1", c.rounds)
	}
	return nil
}

// chainTime bounds one chain in one round: start, loads, large bodies and event streams, stop.
func (c config) chainTime() time.Duration { return 3*startTime + 3*c.duration + bulkTime }

// run measures all chains, round by round so that a machine that changes with time changes for all of them, and prints
// the report. Everything it started has ended when it returns.
func run(ctx context.Context, cfg config, progress io.Writer) error {
	if err := cfg.check(); err != nil {
		return err
	}
	chains, err := chainsByName(cfg.chains)
	if err != nil {
		return err
	}
	r := report{Command: cfg.command, Rounds: cfg.rounds, Date: time.Now().UTC(), Machine: describeMachine(cfg.bin)}
	site, err := openSite(cfg.bin, cfg.profiles != "")
	if err != nil {
		return err
	}
	defer site.close()
	if site.keep = cfg.keep; cfg.keep {
		fmt.Fprintln(progress, "logs are in", site.dir)
	}
	seen := make([][]figures, len(chains))
	for round := range cfg.rounds {
		for i, c := range chains {
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, cfg.rounds, c.name)
			f, err := runChain(ctx, site, c, round, cfg)
			if err != nil {
				return err
			}
			seen[i] = append(seen[i], f)
		}
	}
	for i, c := range chains {
		r.Chains = append(r.Chains, column{c.name, medians(seen[i])})
	}
	text := r.markdown()
	fmt.Fprintf(progress, "\n%s", text)
	if cfg.out == "" {
		return nil
	}
	return os.WriteFile(cfg.out, []byte(text), 0o644)
}

// runChain starts a chain, measures it and ends it: a chain that is not measured takes no CPU time.
func runChain(ctx context.Context, s *site, c chain, round int, cfg config) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.chainTime())
	defer cancel()
	t, err := s.up(ctx, c, fmt.Sprintf("%s-%d", c.name, round))
	if err != nil {
		return f, err
	}
	defer t.procs.stop()
	f, err = measure(ctx, t, cfg, func() error { return t.profile(ctx, cfg.profiles, cfg.duration) })
	if err != nil {
		return f, fmt.Errorf("%s: %w%s", c.name, err, t.procs.tails())
	}
	return f, nil
}

// profile takes a CPU profile of both hops, where they offer one, into dir/spoke.pprof and dir/hub.pprof.
func (t *target) profile(ctx context.Context, dir string, d time.Duration) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for name, h := range map[string]hop{"spoke": t.spoke, "hub": t.hub} {
		if h.pprof == "" {
			continue
		}
		group.Go(func() error {
			url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", h.pprof, max(1, int(d.Seconds())-1))
			return download(ctx, url, filepath.Join(dir, name+".pprof"))
		})
	}
	return group.Wait()
}

func download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, res.Body)
	return errors.Join(err, f.Close())
}
