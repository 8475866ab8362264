package tunnel

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// link is the tunnel to one hub: a set of lanes, each kept up by a goroutine of its own.
type link struct {
	client  *Client
	hub     Hub
	cancel  context.CancelFunc
	dialing waitLock // one dial per hub at a time

	lanes atomic.Pointer[[]*lane] // that may be leased; never changed after Store

	mu       sync.Mutex
	leaving  int // lanes that drain
	failures int // dials in a row that failed, or whose connection did not last
	lastErr  error
	state    string
	since    time.Time
}

func newLink(c *Client, hub Hub) *link {
	l := &link{client: c, hub: hub, dialing: newWaitLock(), state: StateConnecting, since: time.Now()}
	l.lanes.Store(new([]*lane))
	return l
}

// start keeps the lanes up until ctx ends or stop. With Client.mu held.
func (l *link) start(ctx context.Context) {
	ctx, l.cancel = context.WithCancel(ctx)
	for i := range l.client.cfg.Lanes {
		l.client.wg.Go(func() { l.keep(ctx, i == 0) })
	}
}

// stop drains the lanes and dials no more.
func (l *link) stop() { l.cancel() }

// drain retires all lanes; keep dials others.
func (l *link) drain() {
	for _, n := range *l.lanes.Load() {
		n.retire()
	}
}

// keep holds one lane up. A new certificate or trust bundle replaces it: the new lane is there before the old one is
// retired, so that a renewal costs no request.
func (l *link) keep(ctx context.Context, first bool) {
	var current *lane
	refused := "" // the certificate that the hub refused
	for ctx.Err() == nil {
		next, err := l.dial(ctx)
		if err != nil {
			if errors.Is(err, ErrRefused) {
				refused = l.ownCertificate()
			}
			l.pause(ctx, refused)
			continue
		}
		refused = ""
		l.put(next) // before the old one goes, or a request in between would find none
		if current != nil {
			current.retire()
			current.endSession()
		}
		current = next
		if first { // one Session per hub at a time
			current.startSession()
		}
		select {
		case <-ctx.Done():
		case <-current.retired:
			l.dropped(current)
			l.pause(ctx, "")
		case <-current.outdated:
		}
	}
	if current != nil {
		current.retire()
	}
}

// put makes a lane leasable and watches over it.
func (l *link) put(n *lane) {
	l.mu.Lock()
	lanes := append(slices.Clone(*l.lanes.Load()), n)
	l.lanes.Store(&lanes)
	l.lastErr = nil
	l.refresh()
	l.mu.Unlock()
	l.client.cfg.Log.Info("tunnel up", "hub", l.hub.Name, "address", l.hub.Address)
	l.client.wg.Go(func() { n.live(l.client.run) })
	l.client.wake()
}

// take removes a lane that was retired or died.
func (l *link) take(n *lane) {
	l.mu.Lock()
	lanes := slices.DeleteFunc(slices.Clone(*l.lanes.Load()), func(o *lane) bool { return o == n })
	l.lanes.Store(&lanes)
	l.leaving++
	l.refresh()
	l.mu.Unlock()
	l.client.wake()
}

// left is called when a lane that was taken is closed.
func (l *link) left() {
	l.mu.Lock()
	l.leaving--
	l.refresh()
	l.mu.Unlock()
}

// dropped takes note of how long a lane lasted, for the next backoff.
func (l *link) dropped(n *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(n.up) >= backoffStable {
		l.failures = 0
	} else {
		l.failures++
	}
}

// failed takes note of a dial that failed.
func (l *link) failed(err error) {
	l.mu.Lock()
	l.failures++
	l.lastErr = err
	l.refresh()
	l.mu.Unlock()
	l.client.cfg.Log.Warn("tunnel does not come up", "hub", l.hub.Name, "address", l.hub.Address, "err", err)
	l.client.wake()
}

// pause waits before the next dial. With a refused certificate it waits longest, or until there is another: to dial
// again at once with what was refused (row 3) is of no use.
func (l *link) pause(ctx context.Context, refused string) {
	l.mu.Lock()
	failures := l.failures
	l.mu.Unlock()
	wait := backoff(failures, l.client.cfg.Rand())
	if refused != "" {
		wait = backoffMax
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		poll := time.NewTimer(l.client.cfg.Ping)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-poll.C:
			if refused == "" || refused == l.ownCertificate() {
				continue
			}
		}
		poll.Stop()
		return
	}
}

// ownCertificate is the certificate we show now, as bytes to compare.
func (l *link) ownCertificate() string {
	cert, err := l.client.cfg.Identity.Certificate()
	if err != nil || len(cert.Certificate) == 0 {
		return ""
	}
	return string(cert.Certificate[0])
}

// fresh reports whether a request may wait for this link's dial: it has not failed since it was last good.
func (l *link) fresh() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastErr == nil
}

func (l *link) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastErr
}

// outstanding requests on all lanes.
func (l *link) outstanding() (n int) {
	for _, o := range *l.lanes.Load() {
		n += int(o.requests.Load())
	}
	return n
}

// openByOptions is the first exchange of a connection where the caller has no better one: any answer proves that the
// hub has accepted our certificate.
func openByOptions(ctx context.Context, _ Hub, rt http.RoundTripper) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, "https://"+ControlAuthority, nil)
	if err != nil {
		return err
	}
	req.URL.Path = "*"
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
