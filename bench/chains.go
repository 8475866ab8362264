package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// site is what all chains of a run share: certificates, the upstream and its key.
type site struct {
	dir      string // its own temporary folder
	bin      string // programs of ours
	key      string // what the upstream wants as bearer token
	upstream string // address
	pid      int    // of the upstream
	profiles bool   // our gateways offer CPU profiles
	keep     bool   // the folder stays
	procs    *processes
}

// target is a running chain as its client sees it.
type target struct {
	address       string
	tls           *tls.Config // nil: plain
	host          string
	authorization string
	spoke, hub    hop // zero: client and upstream talk directly
	upstream      int // process id
	procs         *processes
}

// hop is one gateway of a chain; the zero value is none.
type hop struct {
	pid   int
	pprof string // address; "": no profiles
}

// direct reports whether there is no hop at all.
func (t *target) direct() bool { return t.spoke.pid == 0 && t.hub.pid == 0 }

// chain is a way from the client to the upstream.
type chain struct {
	name string
	// start starts its processes in t.procs and fills t.
	start func(ctx context.Context, s *site, t *target) error
}

// The plain chain is what ours is compared with.
const (
	plainChain = "go-h2"
	ourChain   = "penstock"
)

var allChains = []chain{{"direct", startDirect}, {plainChain, startGoH2}, {ourChain, startPenstock}}

func chainsByName(names []string) ([]chain, error) {
	var chains []chain
	for _, name := range names {
		i := slices.IndexFunc(allChains, func(c chain) bool { return c.name == name })
		if i < 0 {
			var known []string
			for _, c := range allChains {
				known = append(known, c.name)
			}
			return nil, fmt.Errorf("chain %q does not exist; use %s", name, strings.Join(known, ", "))
		}
		chains = append(chains, allChains[i])
	}
	return chains, nil
}

// openSite makes certificates and a key and starts the upstream.
func openSite(bin string, profiles bool) (s *site, err error) {
	s = &site{profiles: profiles}
	if s.bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	s.procs = &processes{dir: s.dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := writeCertificates(s.dir, upstreamName, hubName, spokeName); err != nil {
		return nil, err
	}
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, err
	}
	s.key = hex.EncodeToString(b)
	if err := os.WriteFile(filepath.Join(s.dir, keyFile), []byte(s.key), 0o600); err != nil {
		return nil, err
	}
	p, address, err := s.procs.announce("upstream", part{dir: s.dir})
	if err != nil {
		return nil, err
	}
	s.upstream, s.pid = address, p.PID()
	return s, nil
}

// close ends the upstream and removes the folder, unless somebody wants to read the logs in it.
func (s *site) close() {
	s.procs.stop()
	if s.keep {
		return
	}
	_ = os.RemoveAll(s.dir) // it is a temporary one
}

// up starts a chain in a folder of its own. Whatever happens, the caller stops t.procs.
func (s *site) up(ctx context.Context, c chain, name string) (*target, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	t := &target{host: upstreamName, upstream: s.pid, procs: &processes{dir: dir}}
	if err := c.start(ctx, s, t); err != nil {
		t.procs.stop()
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return t, nil
}

// startDirect has nothing between client and upstream: what the harness itself can do.
func startDirect(_ context.Context, s *site, t *target) (err error) {
	t.address, t.authorization = s.upstream, "Bearer "+s.key
	t.tls, err = clientTLS(s.dir, upstreamName, "")
	return err
}

// startGoH2 has httputil.ReverseProxy on both hops.
func startGoH2(_ context.Context, s *site, t *target) error {
	hub, address, err := t.procs.announce("proxy-hub", part{dir: s.dir, next: s.upstream})
	if err != nil {
		return err
	}
	spoke, address, err := t.procs.announce("proxy-spoke", part{dir: s.dir, next: address})
	if err != nil {
		return err
	}
	t.address, t.authorization = address, "Bearer "+workloadToken // replaced by the hub
	t.spoke, t.hub = hop{pid: spoke.PID()}, hop{pid: hub.PID()}
	return nil
}
