package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/gateway/h1"
	"penstock.dev/penstock/gateway/hop"
)

// Edges bounds what one client may take at workload listeners. Tunnels have limits of their own (package tunnel). Zero
// fields mean what stands in brackets; docs/limits.md says what a client sees beyond each.
type Edges struct {
	// HeaderBytes of one request head [64 KiB], HeaderFields in it [256], URIBytes of its target [16 KiB].
	HeaderBytes, HeaderFields, URIBytes int
	// RequestBytes of content of one request [any number].
	RequestBytes int64
	// Connections at one listener [16384], ClientConnections of one client address [4096].
	Connections, ClientConnections int
	// ConnectionStreams is how many requests may be under way on one HTTP/2 connection [250].
	ConnectionStreams int
	// HeadTime for a head or a handshake [10s].
	HeadTime time.Duration
	// BodyIdle is how long the next bytes of a body may take until the request is answered [1m]. Not of gRPC, whose
	// clients may have nothing to say for as long as they get.
	BodyIdle time.Duration
	// WriteIdle is how long a client may take no byte of what is written to it [1m].
	WriteIdle time.Duration
	// ConnectionIdle is how long a connection may be without requests [2m], StreamIdle a TLS stream without bytes [10m].
	ConnectionIdle, StreamIdle time.Duration
}

// LimitsOf reads the limits of a configuration.
func LimitsOf(c configv1alpha1.LimitsConfig) (hop.Limits, Edges) {
	return hop.Limits{Hops: c.Hops, Attempts: c.Attempts, Headers: c.ResponseHeaders.Duration}, Edges{
		HeaderBytes: c.HeaderBytes, HeaderFields: c.HeaderFields, URIBytes: c.URIBytes, RequestBytes: int64(c.RequestMiB) << 20,
		Connections: c.Connections, ClientConnections: c.ClientConnections, ConnectionStreams: c.ConnectionStreams,
		HeadTime: c.HeadTime.Duration, BodyIdle: c.BodyIdle.Duration, WriteIdle: c.WriteIdle.Duration,
		ConnectionIdle: c.ConnectionIdle.Duration, StreamIdle: c.StreamIdle.Duration,
	}
}

// withDefaults fills what is zero.
func (e Edges) withDefaults() Edges {
	e.HeaderBytes = cmp.Or(e.HeaderBytes, 64<<10)
	e.HeaderFields = cmp.Or(e.HeaderFields, h1.MaxFields)
	e.URIBytes = cmp.Or(e.URIBytes, 16<<10)
	e.Connections = cmp.Or(e.Connections, 16384)
	e.ClientConnections = cmp.Or(e.ClientConnections, 4096)
	e.ConnectionStreams = cmp.Or(e.ConnectionStreams, 250)
	e.HeadTime = cmp.Or(e.HeadTime, 10*time.Second)
	e.BodyIdle = cmp.Or(e.BodyIdle, time.Minute)
	e.WriteIdle = cmp.Or(e.WriteIdle, time.Minute)
	e.ConnectionIdle = cmp.Or(e.ConnectionIdle, 2*time.Minute)
	e.StreamIdle = cmp.Or(e.StreamIdle, 10*time.Minute)
	return e
}

// bounded refuses a request that is more than a client may send. How long its content is may show only later: see content.
func (x *exchange) bounded() *failure {
	if x.from.tunnel() {
		return nil
	}
	edges := &x.g.cfg.Edges
	if n := len(x.r.RequestURI); n > edges.URIBytes {
		return fail(reasonURITooLong, fmt.Sprintf("a target of %d bytes", n), remedies[reasonURITooLong])
	}
	// HTTP/1.1 was counted on the wire; of HTTP/2 net/http counts the bytes only.
	fields := 0
	for _, values := range x.r.Header {
		fields += len(values)
	}
	if fields > edges.HeaderFields {
		return fail(reasonHeaderTooLarge, fmt.Sprintf("%d fields", fields), remedies[reasonHeaderTooLarge])
	}
	if edges.RequestBytes > 0 && x.r.ContentLength > edges.RequestBytes {
		return tooLarge(edges.RequestBytes)
	}
	return nil
}

func tooLarge(limit int64) *failure {
	return fail(reasonBodyTooLarge, fmt.Sprintf("more content than %d bytes", limit), remedies[reasonBodyTooLarge])
}

// slowReader cuts an answer off that its client does not take. On HTTP/1.1 and on the connection of HTTP/2 deadlines of
// writes see to it; a stream of HTTP/2 can also be held up by its own window, which only a timer sees.
type slowReader struct {
	timer *time.Timer // nil: nothing to watch
	after time.Duration
}

func (x *exchange) watchReader() slowReader {
	if x.from.tunnel() || x.r.ProtoMajor < 2 {
		return slowReader{}
	}
	after := x.g.cfg.Edges.WriteIdle
	s := slowReader{after: after, timer: time.AfterFunc(after, func() {
		x.g.cfg.Metrics.Cut(cutSlowReader)
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now()) // resets the stream
	})}
	s.timer.Stop()
	return s
}

// begin and end stand around a write.
func (s slowReader) begin() {
	if s.timer != nil {
		s.timer.Reset(s.after)
	}
}

func (s slowReader) end() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// A connection of HTTP/2 whose client takes back more than half of its requests, and has made so many, is closed: each of
// them costs us and nothing of it is wanted (CVE-2023-44487, rapid reset).
const hurriedRequests = 200

func (x *exchange) hurried() {
	if x.from.tunnel() || x.r.ProtoMajor < 2 {
		return
	}
	c := connectedOf(x.r)
	if c == nil {
		return
	}
	begun, hurried := c.begun.Add(1), c.hurried.Load()
	if !x.answering && x.r.Context().Err() != nil {
		hurried = c.hurried.Add(1)
	}
	if begun >= hurriedRequests && hurried > begun/2 {
		x.g.cfg.Metrics.Cut(cutResets)
		_ = c.conn.Close()
	}
}

// Why a client was cut: a label of penstock_clients_cut_total.
const (
	cutConnections       = "connections"
	cutClientConnections = "client-connections"
	cutSlowReader        = "slow-reader"
	cutResets            = "resets"
)
