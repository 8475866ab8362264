package gateway

import (
	"net/http"
	"net/http/httptrace"
	"time"

	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/retry"
	"penstock.dev/penstock/tunnel"
)

// toParent hands the request to a parent, and with it the right to repeat. It tries again only on a proof that nothing
// was processed (HOPS-AND-RETRIES B.1).
func (x *exchange) toParent(out *http.Request) (*http.Response, *failure) {
	var tried tunnel.Tries
	inform := &informer{w: x.w}
	defer inform.stop()
	ctx := httptrace.WithClientTrace(tunnel.WithTries(x.clock.ctx, &tried), inform.trace(hop.StripTags))
	began := time.Now()
	overloads := 0
	for try := 1; ; try++ {
		tags, err := x.tags.Forward(x.self, time.Since(x.start))
		if err != nil {
			return nil, hopFailure(err)
		}
		body, err := x.body.Rewind()
		if err != nil {
			return nil, parentFailure(err, false)
		}
		req := out.WithContext(ctx)
		req.Header, req.Body = out.Header.Clone(), body
		req.Host = x.Backend.Authority // whatever a rewrite made of it: inside tunnels the catalog's name is the address
		tags.Write(req.Header, x.self)

		before := x.executed
		x.executed = true
		x.counts.Connects++
		res, err := x.g.cfg.Parent.RoundTrip(req)
		notProcessed := ""
		if err == nil {
			var below hop.Counts
			below, notProcessed = hop.TakeResponse(res.Header)
			x.counts = x.counts.Add(below)
			if notProcessed == "" {
				x.tries.Succeeded()
				return res, nil
			}
			res.Body.Close()
		}
		if notProcessed != "" || unprocessed(err) {
			x.executed = before
		}
		if f := x.ended(); f != nil {
			f.cause = err
			return nil, f
		}
		v := x.tries.Parent(retry.ParentFailure{
			Err: err, NotProcessed: notProcessed, Try: try, Overloads: overloads, BodyLost: x.body.Lost(),
			Left: x.clock.left(), Elapsed: time.Since(began),
		}, x.g.cfg.Rand())
		x.g.cfg.Log.Debug("try towards the parent failed", "requestId", x.tags.RequestID, "try", try, "row", v.Row, "why", v.Why, "again", v.Again, "error", err)
		if !v.Again {
			return nil, parentFailure(err, notProcessed == hop.Overload)
		}
		if notProcessed == hop.Overload {
			overloads++
		}
		tried.Elsewhere = v.Elsewhere
		if !x.clock.sleep(v.Wait) {
			return nil, x.ended()
		}
	}
}
