package hub

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/gateway"
	"penstock.dev/penstock/gateway/route"
	hubadmin "penstock.dev/penstock/hub/admin"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/manifest"
)

// serveAdmin serves the admin API on the unix socket and, if asked, over TLS.
func (h *hub) serveAdmin(ctx context.Context) error {
	cfg := hubadmin.Config{
		Clusters: h.registry, Credentials: h.secrets, Objects: h.store.objects, Codec: h.store, Hub: operator{h},
		Validator: h.validator, Log: h.log,
	}
	if h.cfg.Admin.Address != "" {
		certificate, err := h.registry.ServerCertificate(h.adminNames())
		if err != nil {
			return err
		}
		cfg.Certificate = certificate
	}
	for _, t := range h.cfg.Admin.Tokens {
		cfg.Tokens = append(cfg.Tokens, hubadmin.Token{Name: t.Name, SHA256: t.SHA256, Role: hubadmin.Role(t.Role), Namespaces: t.Namespaces})
	}
	if name := h.cfg.Admin.ClientCAFile; name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("hub: admin.clientCAFile: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("hub: admin.clientCAFile: %s holds no certificate in PEM", name)
		}
	}
	for _, c := range h.cfg.Admin.Clients {
		cfg.Clients = append(cfg.Clients, hubadmin.Client{Name: c.Name, Role: hubadmin.Role(c.Role), Namespaces: c.Namespaces})
	}
	trail, err := hubadmin.OpenTrail(h.cfg.Admin.AuditFile, h.log)
	if err != nil {
		return fmt.Errorf("hub: %w; set admin.auditFile", err)
	}
	defer func() { _ = trail.Close() }() // each record is on the disk already
	cfg.Audit = trail
	server, err := hubadmin.New(cfg)
	if err != nil {
		return err
	}
	served := make(chan error, 2)
	running := 1
	go func() { served <- server.ServeSocket(ctx, h.cfg.Admin.Socket) }()
	if h.cfg.Admin.Address != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", h.cfg.Admin.Address)
		if err != nil {
			return fmt.Errorf("hub: listen for the admin API on %s: %w; set admin.address", h.cfg.Admin.Address, err)
		}
		h.log.Info("listening", "for", "admin", "address", l.Addr().String())
		h.adminAddress.Store(new(l.Addr().String()))
		running++
		go func() { served <- server.ServeTLS(ctx, l) }()
	}
	for range running {
		err = errors.Join(err, <-served)
	}
	return err
}

// adminNames are the names in the certificate of the admin API: the address it listens on, this replica and this host.
func (h *hub) adminNames() []string {
	names := []string{h.cfg.Name, "localhost", "127.0.0.1", "::1"}
	if host, _, err := net.SplitHostPort(h.cfg.Admin.Address); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	return names
}

// operator answers what only the running hub knows.
type operator struct{ h *hub }

// Version implements hubadmin.Hub.
func (o operator) Version() admin.Version {
	v := admin.Version{Version: o.h.cfg.Version, Go: runtime.Version(), Name: o.h.cfg.Name}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}

// Why implements hubadmin.Hub.
func (o operator) Why(_ context.Context, id string) []control.Refusal { return o.h.refusals.Find(id) }

// Options implements hubadmin.Hub.
func (o operator) Options() manifest.Options { return o.h.options() }

// Instances implements hubadmin.Hub: those connected to this replica, with what they reported.
func (o operator) Instances(cluster string) []admin.Instance {
	byID := map[string]*admin.Instance{}
	for _, p := range o.h.tunnels.Peers() {
		if name, ok := o.h.registry.Cluster(p); !ok || name != cluster {
			continue
		}
		i := byID[p.Instance]
		if i == nil {
			rep := o.h.reports.get(p.Instance)
			i = &admin.Instance{
				ID: p.Instance, Group: p.Group, Hub: o.h.cfg.Name, Transport: "quic", NotAfter: p.NotAfter,
				Version: rep.Version, Revision: rep.Revision,
			}
			byID[p.Instance] = i
		}
		i.Lanes++
	}
	all := make([]admin.Instance, 0, len(byID))
	for _, i := range byID {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b admin.Instance) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// probeTime bounds the look at the catalog that status takes.
const probeTime = time.Second

// Status implements hubadmin.Hub.
func (o operator) Status(ctx context.Context) admin.Status {
	h := o.h
	st := admin.Status{
		Name: h.cfg.Name, TrustDomain: h.cfg.TrustDomain, Version: h.cfg.Version, Ready: true, Started: h.started.UTC(),
		Catalog: admin.CatalogStatus{Kind: h.backing.kind, Available: true},
		Tunnel:  []string{h.tunnelAddress()}, Join: h.joinAddresses(), Listen: h.sockets(), Objects: map[string]int{},
	}
	if err := h.ready(); err != nil {
		st.Ready, st.Reasons = false, []string{err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	leader, err := h.catalog.Get(ctx, catalog.ElectedKey(officeName))
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		st.Catalog.Available, st.Catalog.Error = false, err.Error()
	}
	acked, err := h.acknowledged(ctx)
	if err != nil {
		acked = func(string) int64 { return 0 }
	}
	for _, r := range h.registry.Hubs() {
		replica := admin.Replica{
			Name: r.Name, Address: r.Address, Zone: r.Zone, Leader: r.Name == string(leader.Value), Revision: acked(r.Name),
		}
		if r.Name == h.cfg.Name {
			replica.Version = h.cfg.Version
		}
		st.Replicas = append(st.Replicas, replica)
	}
	var problems []manifest.Problem
	if p := h.folderProblems.Load(); p != nil {
		problems = append(problems, *p...)
	}
	if s := h.served.Load(); s != nil {
		st.Revision = s.revision
		for _, x := range s.set.Objects() {
			st.Objects[x.ID.Kind]++
		}
		problems = append(problems, s.problems...)
	}
	for _, p := range problems {
		st.Problems = append(st.Problems, admin.Finding{
			File: p.File, Line: p.Line, Object: p.Object, Field: p.Field, Reason: p.Reason, Message: p.Message, Remedy: p.Remedy,
		})
	}
	return st
}

// sockets of this replica.
func (h *hub) sockets() []admin.Listener {
	list := []admin.Listener{
		{Name: "tunnel", Protocol: "udp", Address: h.packet.LocalAddr().String()},
		{Name: "join", Protocol: "https", Address: h.joining.Addr().String()},
		{Name: "admin", Protocol: "unix", Address: h.cfg.Admin.Socket},
	}
	if a := h.adminAddress.Load(); a != nil {
		list = append(list, admin.Listener{Name: "admin", Protocol: "https", Address: *a})
	}
	for name, address := range map[string]string{"health": h.cfg.Observe.Health, "metrics": h.cfg.Observe.Metrics, "pprof": h.cfg.Observe.Pprof} {
		if address != "" {
			list = append(list, admin.Listener{Name: name, Protocol: "http", Address: address})
		}
	}
	slices.SortStableFunc(list, func(a, b admin.Listener) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Explain implements hubadmin.Hub: the data plane's own decision about a request as it would arrive through the tunnel of
// that cluster.
func (o operator) Explain(_ context.Context, req admin.ExplainRequest) (admin.Explanation, error) {
	s := o.h.served.Load()
	if s == nil {
		return admin.Explanation{}, admin.Errorf(http.StatusServiceUnavailable, "the catalog has not been read yet")
	}
	u, err := url.Parse(req.URL)
	if err != nil || u.Host == "" {
		e := admin.Errorf(http.StatusBadRequest, "%q is not an absolute URL", req.URL)
		e.Remedy = "write e.g. http://openai/v1/models"
		return admin.Explanation{}, e
	}
	q := route.Query{
		Protocol: route.ProtocolTunnel, Host: strings.ToLower(u.Hostname()), Path: u.EscapedPath(), Method: req.Method,
		Header: http.Header{}, Values: u.Query(), Cluster: req.Cluster, Namespace: req.Namespace,
		ServiceAccount: req.ServiceAccount, Proof: req.Proof,
	}
	if q.Path == "" {
		q.Path = "/"
	}
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	if q.Proof == "" {
		q.Proof = "token"
	}
	q.Host = aliased(s.snapshot, q)
	d := o.h.gateway.Snapshot().Decide(q)
	e := admin.Explanation{Allowed: d.Reason == route.None, Revision: s.revision}
	if d.Reason != route.None {
		e.Reason, e.Status = string(d.Reason), gateway.StatusOf(string(d.Reason))
		e.Message, e.Remedy = gateway.Explain(q, d)
	}
	describe(&e, d)
	return e, nil
}

// aliased is the catalog authority that a host means for a caller, as the caller's spoke would choose it: an alias of a
// grant, or a claim's hostname; any other host is left as it is.
func aliased(s *route.Snapshot, q route.Query) string {
	// An alias is a Service's name: openai, openai.team-a, openai.team-a.svc and so on, but not openai.example.com.
	name, rest, qualified := strings.Cut(q.Host, ".")
	namespace, domain, deeper := strings.Cut(rest, ".")
	if deeper && domain != "svc" && !strings.HasPrefix(domain, "svc.") {
		name = ""
	}
	var byAlias, byHostname string
	for _, g := range s.Grants {
		for _, key := range g.Backends {
			for i := range s.Backends {
				b := &s.Backends[i]
				if b.Key != key {
					continue
				}
				_, backend, _ := strings.Cut(b.Key, "/")
				alias := g.Alias
				if alias == "" {
					alias = backend
				}
				authority := manifest.Authority(strings.TrimSuffix(b.Key, "/"+backend), backend)
				if b.Hostname == q.Host {
					byHostname = authority
				}
				granted := slices.ContainsFunc(g.From, func(f route.GrantFrom) bool {
					return (f.AnyCluster || slices.Contains(f.Clusters, q.Cluster)) &&
						(len(f.Namespaces) == 0 || slices.Contains(f.Namespaces, q.Namespace) || qualified && slices.Contains(f.Namespaces, namespace))
				})
				if alias == name && (byAlias == "" || granted) {
					byAlias = authority
				}
			}
		}
	}
	switch {
	case strings.HasSuffix(q.Host, "."+manifest.CatalogDomain):
		return q.Host
	case byHostname != "":
		return byHostname
	case byAlias != "":
		return byAlias
	}
	return q.Host
}

// describe tells what the decision found on its way, as far as it got.
func describe(e *admin.Explanation, d route.Decision) {
	if d.Listener != nil {
		e.Listener = d.Listener.Gateway + "/" + d.Listener.Name
	}
	if d.Rule != nil {
		e.Route, e.Rule = d.Rule.Route.String(), d.Rule.Name
		for _, t := range d.Rule.Targets {
			e.Targets = append(e.Targets, admin.ExplainedTarget{Backend: t.Backend, Weight: t.Weight, Invalid: t.Invalid})
		}
		e.Attempts = 3
		if d.Rule.Retry != nil {
			e.Attempts = min(e.Attempts, 1+d.Rule.Retry.Attempts)
		}
	}
	if d.Grant != nil {
		e.Grant = d.Grant.Name
	}
	for _, f := range d.Filters {
		e.Filters = append(e.Filters, admin.ExplainedFilter{
			Name: f.Name, Type: f.Type, Phase: string(f.Phase), Priority: f.Priority, FailOpen: f.FailOpen, From: f.From,
		})
	}
	if d.Target != nil && d.Target.Redirect != nil {
		e.NextHop = fmt.Sprintf("none: answered here, with a redirect (%d)", d.Target.Redirect.StatusCode)
	}
	if b := d.Backend; b != nil {
		e.Backend, e.Credential = b.Key, b.Credential
		e.NextHop = net.JoinHostPort(b.Hostname, strconv.Itoa(b.Port))
		if b.Via == route.ViaService {
			e.NextHop = strings.Join(b.Endpoints, ", ")
		}
		e.ResponseHeadersMillis = b.Timeouts.ResponseHeaders.Milliseconds()
		e.Retries = "idempotent methods, and others on proof that nothing was processed"
		if b.IdempotencyKeys {
			e.Retries += "; POST with an Idempotency-Key"
		}
		if len(b.RetryPostOn) > 0 {
			e.Retries += fmt.Sprintf("; POST after %v", b.RetryPostOn)
		}
	}
}
