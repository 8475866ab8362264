package gateway

import (
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway/telemetry"
)

// refused keeps the failure for `penstock why`.
func (x *exchange) refused(f *failure) {
	l := x.labels()
	x.g.cfg.Refusals.Add(control.Refusal{
		RequestID: x.tags.RequestID, Time: x.start, Gateway: x.g.cfg.Name,
		Cluster: l.Cluster, Namespace: l.Namespace, ServiceAccount: l.ServiceAccount, Proof: string(x.tags.Subject.Proof),
		Method: x.r.Method, Host: x.host, Path: x.r.URL.EscapedPath(), Route: l.Route, Backend: l.Backend,
		Status: x.status, Reason: f.reason, Detail: f.detail, Remedy: f.remedy,
	})
}

// record counts and logs the exchange.
func (x *exchange) record() {
	took := time.Since(x.start)
	l := x.labels()
	x.g.cfg.Metrics.Answered(l, x.status, took, x.counts.Attempts)
	e := telemetry.Entry{
		Time: x.start, RequestID: x.tags.RequestID, Gateway: x.g.cfg.Name, Labels: l, Proof: string(x.tags.Subject.Proof),
		Method: x.r.Method, Host: x.host, Path: x.r.URL.EscapedPath(), Status: x.status, Reason: x.reason,
		Attempts: x.counts.Attempts, Connects: x.counts.Connects, Hops: len(x.tags.Path),
		BytesOut: x.bytesOut, Headers: x.headers, Took: took, Truncated: x.truncated,
	}
	if x.trace != (telemetry.Trace{}) {
		e.TraceID = x.trace.ID()
	}
	if x.content != nil {
		e.BytesIn = x.content.read.Load()
	}
	e.BytesIn += x.bytesIn.Load()
	x.g.cfg.AccessLog.Log(e)
}

func (x *exchange) labels() telemetry.Labels {
	s := x.tags.Subject
	l := telemetry.Labels{Namespace: s.Namespace, ServiceAccount: s.ServiceAccount, Cluster: s.Cluster}
	if x.Listener != nil {
		l.Gateway = x.Listener.Gateway
	}
	if x.Rule != nil {
		l.Route = x.Rule.Route.Namespace + "/" + x.Rule.Route.Name
	}
	if x.Backend != nil {
		l.Backend = x.Backend.Key
	}
	return l
}
