package tunnel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"
)

// dial opens one connection to the hub: handshake, then the first control exchange. With TLS 1.3 our side of the
// handshake ends before the hub has looked at our certificate, so only an answered exchange makes a connection (B.1, P1).
func (l *link) dial(ctx context.Context) (*lane, error) {
	l.dialing.Lock()
	defer l.dialing.Unlock()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, l.client.cfg.DialTimeout)
	defer cancel()
	n, err := l.open(ctx)
	if err != nil {
		if class := classifyDial(err); !errors.Is(err, class) {
			err = fmt.Errorf("%w: %w", class, err)
		}
		err = fmt.Errorf("dial hub %s at %s: %w", l.hub.Name, l.hub.Address, err)
		l.failed(err)
		return nil, err
	}
	return n, nil
}

func (l *link) open(ctx context.Context) (_ *lane, err error) {
	cfg := &l.client.cfg
	if err := l.usable(); err != nil {
		return nil, err
	}
	addr, err := cfg.Resolve(ctx, l.hub.Address)
	if err != nil {
		return nil, err
	}
	pc, err := cfg.ListenPacket()
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	tr := &quic.Transport{Conn: pc}
	defer func() {
		if err != nil {
			tr.Close()
			pc.Close()
		}
	}()
	n := newLane(l, pc, tr)
	l.client.counts.dials.Add(1)
	n.conn, err = tr.Dial(ctx, addr, n.made, &quic.Config{
		HandshakeIdleTimeout:  cfg.DialTimeout,
		MaxIdleTimeout:        cfg.MaxIdle,
		KeepAlivePeriod:       cfg.Ping,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil, err
	}
	openErr := cfg.Open(ctx, l.hub, n.control())
	if openErr == nil {
		n.up = time.Now()
		return n, nil
	}
	// A refused certificate is seen as a dead connection: its cause says why.
	if cause := context.Cause(n.conn.Context()); cause != nil {
		openErr = fmt.Errorf("%w: %w", openErr, cause)
	}
	n.conn.CloseWithError(closeUnopened, "")
	return nil, openErr
}

// usable refuses to dial with a certificate of ours that nobody can accept any more (row 3).
func (l *link) usable() error {
	cert, err := l.client.cfg.Identity.Certificate()
	if err != nil {
		return fmt.Errorf("own certificate: %w", err)
	}
	leaf, err := leafOf(cert)
	if err != nil {
		return err
	}
	if now := l.client.cfg.Now(); now.After(leaf.NotAfter) {
		return fmt.Errorf("%w: it expired %s ago; renew it, or recover the cluster",
			ErrRefused, now.Sub(leaf.NotAfter).Round(time.Second))
	}
	return nil
}
