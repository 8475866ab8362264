package v1alpha1

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (f *findings) hub(c *HubConfig) {
	f.header(c.APIVersion, c.Kind, KindHub)
	f.processName("name", c.Name)
	f.trustDomain("trustDomain", c.TrustDomain)
	f.required("stateDir", c.StateDir, "name a folder that survives a restart, e.g. /var/lib/penstock")
	f.catalog(&c.Catalog)
	f.dialAddresses("tunnel.advertise", c.Tunnel.Advertise)
	f.between("tunnel.drainTime", c.Tunnel.DrainTime, time.Second, 10*time.Minute)
	f.listenAddress("join.address", c.Join.Address)
	for i, u := range c.Join.Advertise {
		f.httpsURL(index("join.advertise", i), u)
	}
	f.between("join.certificateLife", c.Join.CertificateLife, 10*time.Second, 7*24*time.Hour)
	f.between("join.recoverWindow", c.Join.RecoverWindow, time.Second, 30*24*time.Hour)
	f.admin(&c.Admin)
	f.bind(&c.Bind)
	f.resolver(&c.Resolver)
	f.limits(&c.Limits)
	f.observe(&c.Observe)
	f.distinct(field{"join.address", c.Join.Address}, field{"admin.address", c.Admin.Address},
		field{"observe.metrics", c.Observe.Metrics}, field{"observe.health", c.Observe.Health}, field{"observe.pprof", c.Observe.Pprof})
}

func (f *findings) spoke(c *SpokeConfig) {
	f.header(c.APIVersion, c.Kind, KindSpoke)
	f.processName("name", c.Name)
	f.required("stateDir", c.StateDir, "name a folder that survives a restart, e.g. /var/lib/penstock")
	f.required("manifests", c.Manifests, "name the folder with the Gateways and routes that this spoke serves")
	if p := c.Parent; p != nil {
		f.dialAddresses("parent.hubs", p.Hubs)
		f.inRange("parent.lanes", p.Lanes, 1, 64)
	}
	f.callers(c.Callers)
	f.bind(&c.Bind)
	f.resolver(&c.Resolver)
	f.limits(&c.Limits)
	f.observe(&c.Observe)
	f.distinct(field{"observe.metrics", c.Observe.Metrics}, field{"observe.health", c.Observe.Health}, field{"observe.pprof", c.Observe.Pprof})
}

func (f *findings) header(apiVersion, kind, want string) {
	if apiVersion != APIVersion {
		f.add("apiVersion", "write apiVersion: "+APIVersion, "%s", orMissing(apiVersion, "is not served by this version"))
	}
	if kind != want {
		f.add("kind", "write kind: "+want, "%s", orMissing(kind, "is no kind of configuration"))
	}
}

func orMissing(value, otherwise string) string {
	if value == "" {
		return "is missing"
	}
	return strconv.Quote(value) + " " + otherwise
}

func (f *findings) catalog(c *CatalogConfig) {
	for i, e := range c.Endpoints {
		f.etcdEndpoint(index("catalog.endpoints", i), e)
	}
	if len(c.Endpoints) > 0 && c.Embedded != nil {
		f.add("catalog.embedded", "remove either endpoints or embedded", "the catalog is either embedded or at the endpoints")
	}
	if len(c.Endpoints) == 0 {
		for _, file := range []field{{"catalog.caFile", c.CAFile}, {"catalog.certFile", c.CertFile}, {"catalog.keyFile", c.KeyFile}} {
			if file.value != "" {
				f.add(file.path, "remove it, or name the endpoints", "TLS is for endpoints, and there are none")
			}
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		f.add("catalog", "give both certFile and keyFile, or none", "a client certificate needs certFile and keyFile")
	}
	if !strings.HasPrefix(c.Prefix, "/") || !strings.HasSuffix(c.Prefix, "/") || strings.Contains(c.Prefix, "//") {
		f.add("catalog.prefix", `write e.g. "/penstock/v1/"`, "%q does not begin and end with one slash", c.Prefix)
	}
	if c.Embedded != nil && c.Embedded.ListenClient != "" {
		const at = "catalog.embedded.listenClient"
		if path, ok := strings.CutPrefix(c.Embedded.ListenClient, unixScheme); !ok || path == "" {
			f.add(at, `write e.g. "unix:///run/penstock/etcd.sock"`, "%q is no unix socket", c.Embedded.ListenClient)
		} else {
			f.socketPath(at, path)
		}
	}
}

func (f *findings) admin(c *AdminConfig) {
	if c.Socket != "" {
		f.socketPath("admin.socket", c.Socket)
	}
	if c.Address == "" {
		if len(c.Tokens) > 0 {
			f.add("admin.tokens", "set admin.address, or remove the tokens", "tokens are for admin.address, which is not set")
		}
		if c.ClientCAFile != "" {
			f.add("admin.clientCAFile", "set admin.address, or remove it", "client certificates are for admin.address, which is not set")
		}
	} else {
		f.listenAddress("admin.address", c.Address)
		if len(c.Tokens) == 0 && c.ClientCAFile == "" {
			f.add("admin.address", "add admin.tokens or admin.clientCAFile", "nobody could use this address")
		}
	}
	names, hashes := seen{}, seen{}
	for i, t := range c.Tokens {
		at := index("admin.tokens", i)
		f.required(at+".name", t.Name, "name the administrator, for the audit log")
		f.unique(names, at+".name", t.Name)
		f.sha256(at+".sha256", t.SHA256)
		f.unique(hashes, at+".sha256", t.SHA256)
		f.role(at, t.Role, t.Namespaces)
	}
	if (c.ClientCAFile == "") != (len(c.Clients) == 0) {
		f.add("admin.clients", "give both clientCAFile and clients, or none", "client certificates need admin.clientCAFile and the names in admin.clients")
	}
	clients := seen{}
	for i, n := range c.Clients {
		at := index("admin.clients", i)
		f.required(at+".name", n.Name, "write the common name of the certificate, or a URI of it")
		f.unique(clients, at+".name", n.Name)
		f.role(at, n.Role, n.Namespaces)
	}
}

func (f *findings) role(at, role string, namespaces []string) {
	roles := []string{RolePlatformAdmin, RoleTeamAdmin, RoleAuditor}
	switch {
	case !slices.Contains(roles, role):
		f.add(at+".role", "write one of "+strings.Join(roles, ", "), "%s", orMissing(role, "is no role"))
	case role == RoleTeamAdmin && len(namespaces) == 0:
		f.add(at+".namespaces", "list the namespaces that it looks after", "a team-admin without namespaces could do nothing")
	case role != RoleTeamAdmin && len(namespaces) > 0:
		f.add(at+".namespaces", "remove them, or make it a team-admin", "the role %s is for all namespaces", role)
	}
	for i, n := range namespaces {
		f.dnsName(index(at+".namespaces", i), n, "team-a")
	}
}

func (f *findings) callers(callers []Caller) {
	proofs := seen{}
	for i, c := range callers {
		at := index("callers", i)
		f.dnsName(at+".namespace", c.Namespace, "team-a")
		f.dnsName(at+".serviceAccount", c.ServiceAccount, "bot")
		switch {
		case c.TokenSHA256 != "" && len(c.CIDRs) > 0:
			f.add(at, "make two callers of it", "has both tokenSHA256 and cidrs")
		case c.TokenSHA256 != "":
			f.sha256(at+".tokenSHA256", c.TokenSHA256)
			f.unique(proofs, at+".tokenSHA256", c.TokenSHA256)
		case len(c.CIDRs) == 0:
			f.add(at, "add tokenSHA256 (the hex SHA-256 of its token) or cidrs", "has no proof by which it would be known")
		}
		for j, cidr := range c.CIDRs {
			if f.cidr(index(at+".cidrs", j), cidr) {
				f.unique(proofs, index(at+".cidrs", j), cidr)
			}
		}
	}
}

func (f *findings) bind(c *BindConfig) {
	if _, err := netip.ParseAddr(c.Address); err != nil {
		f.add("bind.address", `write e.g. "127.0.0.1" or "::"`, "%q is no IP address", c.Address)
	}
	bound := seen{}
	for _, port := range slices.Sorted(maps.Keys(c.Ports)) {
		at := "bind.ports." + port
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != port {
			f.add(at, "write the port of a listener, 1 to 65535", "%q is no port", port)
		}
		if to := c.Ports[port]; to != 0 {
			f.inRange(at, to, 0, 65535)
			f.unique(bound, at, strconv.Itoa(to))
		}
	}
}

func (f *findings) resolver(c *ResolverConfig) {
	for i, s := range c.Servers {
		if a, err := netip.ParseAddrPort(s); err != nil || a.Port() == 0 {
			f.add(index("resolver.servers", i), `write e.g. "192.0.2.53:53"`, "%q is no IP address with port", s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Hosts)) {
		at := "resolver.hosts." + name
		f.dnsName(at, name, "api.example.com")
		if len(c.Hosts[name]) == 0 {
			f.add(at, "list its addresses, or remove it", "has no address")
		}
		for i, a := range c.Hosts[name] {
			if _, err := netip.ParseAddr(a); err != nil {
				f.add(index(at, i), `write e.g. "192.0.2.10"`, "%q is no IP address", a)
			}
		}
	}
}

func (f *findings) limits(c *LimitsConfig) {
	for _, b := range c.bounds() {
		if b.number != nil {
			f.inRange("limits."+b.field, *b.number, b.low.(int), b.high.(int))
		} else {
			f.between("limits."+b.field, *b.time, b.low.(time.Duration), b.high.(time.Duration))
		}
	}
	if c.URIBytes > c.HeaderBytes {
		f.add("limits.uriBytes", "raise limits.headerBytes, or lower it", "%d is more than limits.headerBytes, %d: a target is part of its head", c.URIBytes, c.HeaderBytes)
	}
	if c.ClientConnections > c.Connections {
		f.add("limits.clientConnections", "raise limits.connections, or lower it", "%d is more than limits.connections, %d", c.ClientConnections, c.Connections)
	}
}

// Values of ObserveConfig.AccessLog that are no file.
const (
	AccessLogStdout = "stdout"
	AccessLogOff    = "off"
)

func (f *findings) observe(c *ObserveConfig) {
	for _, a := range []field{{"observe.metrics", c.Metrics}, {"observe.health", c.Health}, {"observe.pprof", c.Pprof}} {
		if a.value != "" {
			f.listenAddress(a.path, a.value)
		}
	}
	// TH-E5: a profile shows memory, and with it credentials.
	if a, err := netip.ParseAddrPort(c.Pprof); err == nil && !a.Addr().IsLoopback() {
		f.add("observe.pprof", `write e.g. "127.0.0.1:6060" and reach it from the host itself`, "%q is not a loopback address", c.Pprof)
	}
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, c.LogLevel) {
		f.add("observe.logLevel", "write one of "+strings.Join(levels, ", "), "%q is no level", c.LogLevel)
	}
}

// field is a path with its value.
type field struct{ path, value string }

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
