package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/tunnel"
)

// pingEvery keeps a watch from looking dead.
const pingEvery = 10 * time.Second

// controller answers the control requests of tunnel peers. Identity there is the certificate alone.
type controller struct {
	hello    func() control.Hello
	board    *board
	draining <-chan struct{}
	renew    func(context.Context, tunnel.Peer, control.RenewRequest) (control.Certificate, error)
	// gone says why a peer must go, if it must.
	gone    func(tunnel.Peer) (reason string, gone bool)
	reports *reports
	refused func(control.Refusal)
	log     *slog.Logger
}

// handler serves hub.penstock.internal. It must see requests of tunnels only.
func (c *controller) handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET "+control.PathHello, c.serveHello)
	m.HandleFunc("GET "+control.PathWatch, c.serveWatch)
	m.HandleFunc("POST "+control.PathRenew, c.serveRenew)
	m.HandleFunc("POST "+control.PathReport, c.serveReport)
	return m
}

func (c *controller) serveHello(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, c.hello())
}

// serveWatch streams the cluster's view, the hubs and the roots, each when it is new, until the peer leaves.
func (c *controller) serveWatch(w http.ResponseWriter, r *http.Request) {
	peer, ok := tunnel.PeerFrom(r.Context())
	if !ok {
		refuse(w, http.StatusForbidden, "no-peer", "the watch is for tunnels", "")
		return
	}
	w.Header().Set("Content-Type", "application/jsonlines")
	flush := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	send := func(e control.Event) bool { return lines.Encode(e) == nil && flush.Flush() == nil }

	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	draining := c.draining
	var shown posted
	var shownView string
	for {
		state, view, changed := c.board.read(peer.Cluster)
		if _, gone := c.gone(peer); gone {
			send(control.Event{Type: control.EventRevoked})
			return
		}
		if state.roots != shown.roots && !send(control.Event{Type: control.EventRoots, Roots: state.roots}) {
			return
		}
		if wire := marshal(state.hubs); wire != marshal(shown.hubs) {
			hello := c.hello()
			if !send(control.Event{Type: control.EventHubs, Hubs: state.hubs, Ancestors: hello.Ancestors}) {
				return
			}
		}
		if view.value != nil && (view.wire != shownView || shown.revision == 0) {
			if !send(control.Event{Type: control.EventView, Revision: state.revision, View: view.value}) {
				return
			}
			shownView = view.wire
		}
		shown = state
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-draining:
			if !send(control.Event{Type: control.EventDrain}) {
				return
			}
			draining = nil // the peer leaves by itself after its last exchange
		case <-ping.C:
			if !send(control.Event{Type: control.EventPing}) {
				return
			}
		}
	}
}

func (c *controller) serveRenew(w http.ResponseWriter, r *http.Request) {
	peer, ok := tunnel.PeerFrom(r.Context())
	if !ok {
		refuse(w, http.StatusForbidden, "no-peer", "renewal is for tunnels", "")
		return
	}
	var in control.RenewRequest
	if !readJSON(w, r, &in) {
		return
	}
	cert, err := c.renew(r.Context(), peer, in)
	if err != nil {
		status, code, remedy := http.StatusServiceUnavailable, "unavailable", "try again"
		var answer interface {
			HTTP() (status int, code, remedy string)
		}
		if errors.As(err, &answer) {
			status, code, remedy = answer.HTTP()
		}
		c.log.WarnContext(r.Context(), "renewal refused", "cluster", peer.Cluster, "instance", peer.Instance, "error", err)
		refuse(w, status, code, err.Error(), remedy)
		return
	}
	writeJSON(w, http.StatusOK, cert)
}

func (c *controller) serveReport(w http.ResponseWriter, r *http.Request) {
	peer, ok := tunnel.PeerFrom(r.Context())
	if !ok {
		refuse(w, http.StatusForbidden, "no-peer", "reports are for tunnels", "")
		return
	}
	var in control.Report
	if !readJSON(w, r, &in) {
		return
	}
	in.Instance = peer.Instance // what the certificate says, whatever the report says
	c.reports.set(in)
	for _, refusal := range in.Refusals[:min(len(in.Refusals), 1000)] {
		refusal.Cluster = peer.Cluster
		c.refused(refusal)
	}
	w.WriteHeader(http.StatusNoContent)
}

// readJSON reads a request body of at most 1 MiB. An unknown member is from a newer peer and ignored.
func readJSON(w http.ResponseWriter, r *http.Request, in any) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(data, in)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "malformed", err.Error(), "")
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a peer that went away is no error of ours
}

func refuse(w http.ResponseWriter, status int, code, message, remedy string) {
	writeJSON(w, status, map[string]string{"code": code, "message": message, "remedy": remedy})
}

// marshal is a value in comparable form.
func marshal(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data
	}
	return string(data)
}
