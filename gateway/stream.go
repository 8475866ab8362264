package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/gateway/telemetry"
)

// stream serves one connection of a TLSRoute: it goes to a Service as it came, or with its TLS ended here. There is nothing
// to answer with but the end of the connection.
func (l *Listeners) stream(ctx context.Context, c net.Conn, table *tlsTable, listener *route.Listener, name string) {
	defer c.Close()
	began := time.Now()
	g := l.cfg.Gateway
	d := table.snapshot.Decide(route.Query{Protocol: route.ProtocolTLS, Port: listener.Port, Host: name, Draw: uint32(g.cfg.Rand() * (1 << 32))})
	entry := telemetry.Entry{Time: began, Gateway: g.cfg.Name, Method: "TLS", Host: name, Labels: telemetry.Labels{Gateway: listener.Gateway}}
	if d.Rule != nil {
		entry.Labels.Route = d.Rule.Route.Namespace + "/" + d.Rule.Route.Name
	}
	if d.Backend != nil {
		entry.Labels.Backend = d.Backend.Key
	}
	in, out, err := l.carry(ctx, c, table, listener, d)
	outcome := "whole"
	if err != nil {
		outcome, entry.Reason, entry.Truncated = "broken", string(d.Reason), true
		var refused *failure
		if errors.As(err, &refused) {
			outcome, entry.Reason, entry.Truncated = "refused", refused.reason, false
		}
		g.cfg.Log.Debug("a stream ended early", "serverName", name, "backend", entry.Labels.Backend, "error", err)
	}
	g.cfg.Metrics.Streamed(outcome)
	entry.BytesIn, entry.BytesOut, entry.Took = in, out, time.Since(began)
	g.cfg.AccessLog.Log(entry)
}

// carry connects both sides and copies until both directions have ended.
func (l *Listeners) carry(ctx context.Context, c net.Conn, table *tlsTable, listener *route.Listener, d route.Decision) (in, out int64, err error) {
	g := l.cfg.Gateway
	switch {
	case d.Reason != route.None:
		return 0, 0, fail(string(d.Reason), "", "")
	case d.Backend == nil || d.Backend.Via != route.ViaService || l.cfg.Streams == nil:
		return 0, 0, fail(reasonNoNextHop, "", "")
	}
	slot, refused := g.destination(d.Backend.Key).admit("", d.Backend.Limits)
	if refused != "" {
		return 0, 0, fail(refused, "", "")
	}
	defer slot.leave()
	here, err := l.endTLS(ctx, c, table, listener)
	if err != nil {
		return 0, 0, err
	}
	there, err := l.cfg.Streams.DialService(ctx, d.Backend)
	if err != nil {
		return 0, 0, err
	}
	defer there.Close()
	slot.streaming()
	// The end of the port's time ends both sides, which ends both copies.
	defer context.AfterFunc(ctx, func() {
		_ = c.Close()
		_ = there.Close()
	})()
	idle := newIdleStream(g.cfg.Edges.StreamIdle, here, there)
	defer idle.timer.Stop()
	up := make(chan error, 1)
	go func() {
		var err error
		in, err = relay(idle.of(there), idle.of(here))
		if err != nil {
			_ = there.Close()
			_ = c.Close()
		}
		up <- err
	}()
	out, err = relay(idle.of(here), idle.of(there))
	if err != nil {
		_ = there.Close()
		_ = c.Close()
	}
	return in, out, errors.Join(err, <-up)
}

// endTLS is the stream as the Service gets it.
func (l *Listeners) endTLS(ctx context.Context, c net.Conn, table *tlsTable, listener *route.Listener) (net.Conn, error) {
	if listener.TLS.Passthrough {
		return c, nil
	}
	config := table.configs[listener]
	if config == nil {
		return nil, fmt.Errorf("listener %s of %s cannot end TLS", listener.Name, listener.Gateway)
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Gateway.cfg.Edges.HeadTime)
	defer cancel()
	secured := tls.Server(c, config)
	return secured, secured.HandshakeContext(ctx)
}

// idleStream closes both sides of a stream in which no byte moves for a time, whatever the direction.
type idleStream struct {
	timer *time.Timer
	after time.Duration
}

func newIdleStream(after time.Duration, sides ...net.Conn) *idleStream {
	return &idleStream{after: after, timer: time.AfterFunc(after, func() {
		for _, c := range sides {
			_ = c.Close()
		}
	})}
}

func (i *idleStream) of(c net.Conn) net.Conn { return idling{c, i} }

// idling is one side of it.
type idling struct {
	net.Conn
	stream *idleStream
}

func (i idling) Read(p []byte) (int, error) {
	n, err := i.Conn.Read(p)
	i.stream.timer.Reset(i.stream.after)
	return n, err
}

func (i idling) Write(p []byte) (int, error) {
	n, err := i.Conn.Write(p)
	i.stream.timer.Reset(i.stream.after)
	return n, err
}

// CloseWrite ends our direction.
func (i idling) CloseWrite() error {
	if c, ok := i.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}
