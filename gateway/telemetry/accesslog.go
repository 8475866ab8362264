package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// Entry is one line of the access log: no query, no body, no header of the request.
type Entry struct {
	Time      time.Time
	RequestID string
	TraceID   string
	Gateway   string // name of the gateway that writes the line
	Labels    Labels
	Proof     string
	Method    string
	Host      string
	Path      string // without query
	Status    int    // 0: the client went away before there was one
	Reason    string // why a gateway answered itself; empty: it did not
	Attempts  int
	Connects  int
	Hops      int
	// BytesIn and BytesOut of the bodies.
	BytesIn, BytesOut int64
	// Headers is the time to response headers, Took until the end of the response.
	Headers, Took time.Duration
	// Truncated: the response ended before its end.
	Truncated bool
}

// AccessLog writes entries without ever making a request wait. Make it with NewAccessLog. Safe for concurrent use and
// for a nil receiver, which logs nothing.
type AccessLog struct {
	handler slog.Handler
	queue   chan Entry
	metrics *Metrics
}

// NewAccessLog writes JSON lines to w. At most queue entries [4096] wait for it; what comes then is dropped and counted
// in m.
func NewAccessLog(w io.Writer, queue int, m *Metrics) *AccessLog {
	if queue <= 0 {
		queue = 4096
	}
	return &AccessLog{handler: slog.NewJSONHandler(w, nil), queue: make(chan Entry, queue), metrics: m}
}

// Log queues an entry or drops it. It never blocks.
func (l *AccessLog) Log(e Entry) {
	if l == nil {
		return
	}
	select {
	case l.queue <- e:
	default:
		if l.metrics != nil {
			l.metrics.dropped.Inc()
		}
	}
}

// flushTime is what Run gives a slow sink at the end.
const flushTime = time.Second

// Run writes until ctx is done, then what is queued, for at most a second. If the sink is blocked in a write for
// longer, Run leaves that write behind and returns: a full pipe must not keep a gateway from stopping.
func (l *AccessLog) Run(ctx context.Context) error {
	if l == nil {
		<-ctx.Done()
		return nil
	}
	written := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(written)
		l.write(stop)
	}()
	<-ctx.Done()
	close(stop)
	select {
	case <-written:
	case <-time.After(flushTime):
	}
	return nil
}

func (l *AccessLog) write(stop <-chan struct{}) {
	for {
		select {
		case e := <-l.queue:
			l.line(e)
			continue
		default:
		}
		select {
		case e := <-l.queue:
			l.line(e)
		case <-stop:
			select {
			case e := <-l.queue:
				l.line(e)
			default:
				return
			}
		}
	}
}

// line writes one entry. A sink that fails cannot be told anything; the next line tries again.
func (l *AccessLog) line(e Entry) {
	r := slog.NewRecord(e.Time, slog.LevelInfo, "request", 0)
	r.AddAttrs(
		slog.String("requestId", e.RequestID), slog.String("traceId", e.TraceID), slog.String("gateway", e.Gateway),
		slog.String("cluster", e.Labels.Cluster), slog.String("namespace", e.Labels.Namespace),
		slog.String("serviceAccount", e.Labels.ServiceAccount), slog.String("proof", e.Proof),
		slog.String("listener", e.Labels.Gateway), slog.String("route", e.Labels.Route), slog.String("backend", e.Labels.Backend),
		slog.String("method", e.Method), slog.String("host", e.Host), slog.String("path", e.Path),
		slog.Int("status", e.Status), slog.String("reason", e.Reason),
		slog.Int("attempts", e.Attempts), slog.Int("connects", e.Connects), slog.Int("hops", e.Hops),
		slog.Int64("bytesIn", e.BytesIn), slog.Int64("bytesOut", e.BytesOut),
		slog.Float64("headersMs", ms(e.Headers)), slog.Float64("tookMs", ms(e.Took)), slog.Bool("truncated", e.Truncated),
	)
	_ = l.handler.Handle(context.Background(), r)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
