package tunnel

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

// lane is one QUIC connection to a hub, on a socket of its own: congestion control is per connection (DESIGN.md, Lanes).
type lane struct {
	link *link
	pc   net.PacketConn
	tr   *quic.Transport
	conn *quic.Conn
	up   time.Time

	// made and leaf are the trust bundle and certificate that the lane was made with.
	made *tls.Config
	leaf string

	requests atomic.Int32 // outstanding, control exchanges left out
	suspect  atomic.Bool
	health   health

	retired  chan struct{} // closed: lease nothing new
	outdated chan struct{} // closed: a lane under the current certificate and roots should take over
	once     struct{ retire, outdate sync.Once }
	session  session

	mu      sync.Mutex
	idle    []*stream // the last one used is leased first, so that the others can be closed
	waiters []chan *stream
	shut    bool          // idle streams are not kept any more
	empty   chan struct{} // closed: retired and without requests
}

// stream is a leased stream between exchanges.
type stream struct {
	str  *quic.Stream
	rd   *bhttp.Reader
	free time.Time // since when it is idle
}

func newLane(l *link, pc net.PacketConn, tr *quic.Transport) *lane {
	return &lane{
		link: l, pc: pc, tr: tr,
		made: l.client.tls.current(), leaf: l.ownCertificate(),
		retired: make(chan struct{}), outdated: make(chan struct{}), empty: make(chan struct{}),
	}
}

// retire begins the end of a lane: nothing new is leased, and it is closed after its last request.
func (n *lane) retire() {
	n.once.retire.Do(func() {
		close(n.retired)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.shut = true
		for _, s := range n.idle {
			s.close()
		}
		n.idle = nil
		for _, w := range n.waiters {
			close(w)
		}
		n.waiters = nil
		n.checkEmpty()
	})
}

func (n *lane) isRetired() bool {
	select {
	case <-n.retired:
		return true
	default:
		return false
	}
}

// checkEmpty closes empty when it is time. With mu held.
func (n *lane) checkEmpty() {
	if !n.shut || n.requests.Load() > 0 {
		return
	}
	select {
	case <-n.empty:
	default:
		close(n.empty)
	}
}

// live is the lane's own goroutine: it ends with the lane. run is the context of Client.Run.
func (n *lane) live(run context.Context) {
	dead := n.conn.Context().Done()
	select {
	case <-dead:
	case <-n.retired:
	}
	n.retire()
	n.link.take(n)
	defer n.link.left()
	limit := n.link.client.cfg.DialTimeout
	last, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(run, func() { // the Client ends: not longer than limit
		timer := time.AfterFunc(limit, cancel)
		context.AfterFunc(last, func() { timer.Stop() })
	})()
	select {
	case <-n.empty:
	case <-dead:
	case <-last.Done():
	}
	n.session.cancel()
	patience := time.NewTimer(limit)
	defer patience.Stop()
	select { // a control exchange on its way, such as a renewal, must not lose its answer
	case <-n.session.done():
	case <-dead:
	case <-patience.C:
	case <-last.Done():
	}
	n.link.client.cfg.Log.Info("tunnel down", "hub", n.link.hub.Name, "err", context.Cause(n.conn.Context()))
	n.conn.CloseWithError(closeDone, "")
	n.tr.Close()
	n.pc.Close()
	<-n.session.done()
}

// outdate asks for a replacement if our certificate or roots have changed since the lane was made.
func (n *lane) outdate() {
	if n.link.ownCertificate() != n.leaf || n.link.client.tls.current() != n.made {
		n.once.outdate.Do(func() { close(n.outdated) })
	}
}

// control is a RoundTripper for control exchanges on this lane and no other.
func (n *lane) control() http.RoundTripper { return controlTransport{n} }

type controlTransport struct{ lane *lane }

// RoundTrip works as long as the connection lives, draining or not: the hub excepts control exchanges from `rejected`.
func (t controlTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	x, err := newExchange(t.lane.link.client, req)
	if err != nil {
		return nil, err
	}
	s, err := t.lane.leaseControl()
	if err != nil {
		x.release()
		return nil, &Error{Hub: t.lane.link.hub.Name, Err: noStream(err), Proof: ProofNoStream}
	}
	return x.run(t.lane, s, func() {})
}

// session is the goroutine of ClientConfig.Session on the first lane.
type session struct {
	mu    sync.Mutex
	stop  context.CancelFunc
	ended chan struct{}
}

func (s *session) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
}

// done is closed when no Session runs.
func (s *session) done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = make(chan struct{})
		close(s.ended)
	}
	return s.ended
}

// startSession runs ClientConfig.Session; when it returns the lane is retired.
func (n *lane) startSession() {
	ctx, cancel := context.WithCancel(n.conn.Context())
	ended := make(chan struct{})
	n.session.mu.Lock()
	n.session.stop, n.session.ended = cancel, ended
	n.session.mu.Unlock()
	n.link.client.wg.Go(func() {
		defer close(ended)
		defer cancel()
		err := n.link.client.cfg.Session(ctx, n.link.hub, n.control())
		if ctx.Err() == nil {
			n.link.client.cfg.Log.Info("session ended, tunnel drains", "hub", n.link.hub.Name, "err", err)
		}
		n.retire()
	})
}

// endSession cancels the Session and waits for it.
func (n *lane) endSession() {
	n.session.cancel()
	<-n.session.done()
}
