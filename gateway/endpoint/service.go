package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/gateway/route"
)

// maxEndpointTries bounds how many endpoints of a Service one attempt may try to connect to.
const maxEndpointTries = 3

// destinations are the Backends that one attempt may connect to, one after the other: the Backend itself, or the endpoints
// of a Service, each in its turn first. They differ in address only.
func (e *Endpoint) destinations(b *route.Backend) ([]*route.Backend, error) {
	if b.Via != route.ViaService {
		return []*route.Backend{b}, nil
	}
	n := len(b.Endpoints)
	if n == 0 {
		return nil, &Error{Cause: ConnectionRefused, Class: retry.ConnectFailure, Err: fmt.Errorf("Service %s has no ready endpoint", b.Key)}
	}
	first := int(e.turn.Add(1) % uint64(n))
	out := make([]*route.Backend, 0, min(n, maxEndpointTries))
	for i := range min(n, maxEndpointTries) {
		address, err := netip.ParseAddrPort(b.Endpoints[(first+i)%n])
		if err != nil {
			return nil, &Error{Cause: DestinationProhibited, Class: retry.NoRepeat, Err: fmt.Errorf("Service %s: endpoint %q: %w", b.Key, b.Endpoints[(first+i)%n], err)}
		}
		at := *b
		at.Hostname, at.Port = address.Addr().String(), int(address.Port())
		out = append(out, &at)
	}
	return out, nil
}

// notConnected reports whether an error says that no connection came about, so that another endpoint may be tried: nothing
// was sent.
func notConnected(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Sent && e.Class == retry.ConnectFailure
}

// DialService connects to one of the endpoints of a Service, for a stream that is not HTTP: with TLS where the Backend has
// it, else in the clear. The connect timeout is the Backend's. Errors are *Error, with nothing sent.
func (e *Endpoint) DialService(ctx context.Context, b *route.Backend) (net.Conn, error) {
	if b.Via != route.ViaService {
		return nil, &Error{Cause: DestinationProhibited, Class: retry.NoRepeat, Err: fmt.Errorf("Backend %s is no Service", b.Key)}
	}
	to, err := e.destinations(b)
	if err != nil {
		return nil, err
	}
	for i, at := range to {
		var c net.Conn
		if c, err = e.dialRaw(ctx, at); err == nil || !notConnected(err) || i == len(to)-1 || ctx.Err() != nil {
			return c, err
		}
	}
	return nil, err
}

func (e *Endpoint) dialRaw(ctx context.Context, b *route.Backend) (net.Conn, error) {
	p, err := e.newPlan(b)
	if err != nil {
		return nil, &Error{Cause: settingsCause(b), Class: retry.NoRepeat, Err: fmt.Errorf("Service %s: %w", b.Key, err)}
	}
	ctx, cancel := context.WithTimeout(ctx, p.connect)
	defer cancel()
	c, err := e.connect(ctx, p)
	if err != nil || p.tls == nil {
		return c, err
	}
	secured, _, err := handshake(ctx, c, p)
	if err != nil {
		return nil, err
	}
	return secured, nil
}
