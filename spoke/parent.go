package spoke

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/telemetry"
	"penstock.dev/penstock/tunnel"
)

// The rhythm of control: a watch silent for three pings is dead.
const (
	reportEvery  = 10 * time.Second
	watchSilence = 30 * time.Second
	retryRenewal = 20 * time.Second
	maxReported  = 1000 // refusals in one report
)

// ErrParentLoop: our own group is among the hub's ancestors, so the tunnel stays unready (HOPS A.3, prevention).
var ErrParentLoop = errors.New("parent loop: this gateway is an ancestor of its own parent")

// parent is the conversation with the hubs: one watch to each replica, reports, renewals. It hands on each view that is
// newer than the last, whichever replica it comes from: all serve one catalog, and its revisions grow unless it is restored.
type parent struct {
	identity *identity
	version  string
	log      *slog.Logger
	// setHubs and drain act on the tunnels; view takes each newer view; refusals are what to report.
	setHubs  func([]control.Hub)
	drain    func(hub string)
	view     func(revision int64, v *control.View)
	refusals *telemetry.Refusals
	served   func() int64 // revision of the view that is served
	draining sync.Mutex   // held by the report that carries refusals

	mu       sync.Mutex
	revision int64            // of the view that was handed on last
	told     map[string]int64 // the last revision of each hub
	revoked  bool
}

// open is the first exchange of each connection.
func (p *parent) open(ctx context.Context, hub tunnel.Hub, rt http.RoundTripper) error {
	var hello control.Hello
	if err := call(ctx, rt, control.PathHello, nil, &hello); err != nil {
		return err
	}
	if own := p.identity.current.Load().id.Group; hello.Group == own || slices.Contains(hello.Ancestors, own) {
		return fmt.Errorf("spoke: hub %s: %w", hub.Name, ErrParentLoop)
	}
	return nil
}

// session watches one hub and reports to it until the connection ends.
func (p *parent) session(ctx context.Context, hub tunnel.Hub, rt http.RoundTripper) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var reporting sync.WaitGroup
	defer reporting.Wait()
	defer cancel(nil)
	reporting.Go(func() { p.report(ctx, hub, rt) })

	p.mu.Lock()
	since := p.revision
	p.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		fmt.Sprintf("https://%s%s?revision=%d", tunnel.ControlAuthority, control.PathWatch, since), nil)
	if err != nil {
		return err
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("spoke: watch hub %s: %w", hub.Name, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("spoke: watch hub %s: %s", hub.Name, res.Status)
	}
	silence := time.AfterFunc(watchSilence, func() { cancel(errors.New("the watch was silent for too long")) })
	defer silence.Stop()
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	for d := json.NewDecoder(lines); ; {
		var e control.Event
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("spoke: watch hub %s: %w", hub.Name, errors.Join(err, context.Cause(ctx)))
		}
		silence.Reset(watchSilence)
		if err := p.apply(hub, e); err != nil {
			p.log.WarnContext(ctx, "event of the hub not applied", "hub", hub.Name, "event", e.Type, "error", err)
		}
	}
}

// apply acts on one event. An event of a type we do not know is from a newer hub and ignored.
func (p *parent) apply(hub tunnel.Hub, e control.Event) error {
	switch e.Type {
	case control.EventView:
		if e.View == nil {
			return errors.New("a view event without a view")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		// Replicas serve one catalog, some a little behind: only what is newer counts. A hub that goes back itself has had
		// its catalog restored, and then that is what counts.
		restored := e.Revision < p.told[hub.Name]
		p.told[hub.Name] = e.Revision
		if e.Revision > p.revision || restored { // handed on under the lock, so that views arrive in order
			p.revision = e.Revision
			p.view(e.Revision, e.View)
		}
	case control.EventHubs:
		if len(e.Hubs) == 0 {
			return nil // a hub that knows no hub, not even itself, is starting
		}
		p.setHubs(e.Hubs)
		return p.identity.advertised(e.Hubs)
	case control.EventRoots:
		return p.identity.trust(e.Roots)
	case control.EventDrain:
		p.log.Info("hub drains, new requests go elsewhere", "hub", hub.Name)
		p.drain(hub.Name)
	case control.EventRevoked:
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.revoked {
			p.revoked = true
			p.log.Error("this cluster was revoked or suspended at the hub; ask its platform team, then join with a new bundle")
		}
	}
	return nil
}

// report tells the hub what is served and what was refused.
func (p *parent) report(ctx context.Context, hub tunnel.Hub, rt http.RoundTripper) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for quick := time.After(time.Second); ; { // the first report soon: Programmed waits for it
		select {
		case <-ctx.Done():
			return
		case <-quick:
		case <-tick.C:
		}
		if err := p.reportOnce(ctx, rt); err != nil && ctx.Err() == nil {
			p.log.WarnContext(ctx, "report to the hub failed", "hub", hub.Name, "error", err)
		}
	}
}

// reportOnce sends one report. Refusals go with one report at a time, whichever hub it is for, and back if it fails.
func (p *parent) reportOnce(ctx context.Context, rt http.RoundTripper) error {
	h := p.identity.current.Load()
	r := control.Report{
		Instance: h.Instance, Version: p.version, Revision: p.served(),
		Generation: h.Generation, NotAfter: h.certificate.Leaf.NotAfter,
	}
	if p.draining.TryLock() {
		defer p.draining.Unlock()
		r.Refusals = p.refusals.Drain(maxReported)
	}
	err := call(ctx, rt, control.PathReport, r, nil)
	if err != nil {
		p.refusals.Undrain(len(r.Refusals))
	}
	return err
}

// keepFresh renews the certificate at half its life, with jitter, until ctx is done.
func (p *parent) keepFresh(ctx context.Context, rt http.RoundTripper) {
	for {
		h := p.identity.current.Load()
		jitter := time.Duration(rand.Int64N(int64(h.left()/20) + 1))
		if !sleep(ctx, time.Until(h.renewAt().Add(jitter))) {
			return
		}
		for {
			err := p.renew(ctx, rt)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			expires := h.certificate.Leaf.NotAfter
			p.log.WarnContext(ctx, "certificate not renewed", "expires", expires, "error", err)
			if !sleep(ctx, max(min(retryRenewal, h.left()/10), time.Second)) {
				return
			}
		}
		p.log.InfoContext(ctx, "certificate renewed", "expires", p.identity.current.Load().certificate.Leaf.NotAfter)
	}
}

// renew asks over the tunnel or, once no tunnel takes the certificate any more, at the join endpoint.
func (p *parent) renew(ctx context.Context, rt http.RoundTripper) error {
	err := p.identity.renew(ctx, rt)
	if err != nil && time.Now().After(p.identity.current.Load().certificate.Leaf.NotAfter) {
		return p.identity.recover(ctx)
	}
	return err
}

// sleep waits for d or the end of ctx and reports whether it was d.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
