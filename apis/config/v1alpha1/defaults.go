package v1alpha1

import (
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// setDefaults fills what the file left out, and resolves relative paths against folder.
func (c *HubConfig) setDefaults(folder string) {
	c.Name = cmp.Or(c.Name, hostName())
	resolvePaths(folder, &c.StateDir, &c.Manifests, &c.Keyring.File, &c.Admin.Socket, &c.Admin.ClientCAFile, &c.Admin.AuditFile,
		&c.Catalog.CAFile, &c.Catalog.CertFile, &c.Catalog.KeyFile)
	for i := range c.Catalog.Endpoints {
		resolveSocket(folder, &c.Catalog.Endpoints[i])
	}
	if c.Catalog.Embedded != nil {
		resolveSocket(folder, &c.Catalog.Embedded.ListenClient)
	}
	c.Catalog.Prefix = cmp.Or(c.Catalog.Prefix, "/penstock/v1/")
	if c.StateDir != "" {
		c.Keyring.File = cmp.Or(c.Keyring.File, filepath.Join(c.StateDir, "keyring.json"))
		c.Admin.AuditFile = cmp.Or(c.Admin.AuditFile, filepath.Join(c.StateDir, "audit.jsonl"))
		c.Admin.Socket = cmp.Or(c.Admin.Socket, filepath.Join(c.StateDir, "admin.sock"))
	}
	if len(c.Catalog.Endpoints) == 0 && c.Catalog.Embedded == nil {
		c.Catalog.Embedded = &EmbeddedConfig{}
	}
	for i, t := range c.Admin.Tokens {
		c.Admin.Tokens[i].SHA256 = strings.ToLower(t.SHA256)
	}
	c.Join.Address = cmp.Or(c.Join.Address, "0.0.0.0:8443")
	orDuration(&c.Tunnel.DrainTime, 30*time.Second)
	orDuration(&c.Join.CertificateLife, time.Hour)
	orDuration(&c.Join.RecoverWindow, 7*24*time.Hour)
	c.Bind.setDefaults()
	c.Resolver.setDefaults()
	c.Limits.setDefaults()
	c.Observe.setDefaults(folder)
}

// setDefaults fills what the file left out, and resolves relative paths against folder.
func (c *SpokeConfig) setDefaults(folder string) {
	c.Name = cmp.Or(c.Name, hostName())
	resolvePaths(folder, &c.StateDir, &c.Manifests)
	if c.Parent != nil {
		resolvePaths(folder, &c.Parent.Bundle)
		c.Parent.Lanes = cmp.Or(c.Parent.Lanes, 1)
	}
	for i, caller := range c.Callers {
		c.Callers[i].TokenSHA256 = strings.ToLower(caller.TokenSHA256)
	}
	c.Bind.setDefaults()
	c.Resolver.setDefaults()
	c.Limits.setDefaults()
	c.Observe.setDefaults(folder)
}

func (c *BindConfig) setDefaults() { c.Address = cmp.Or(c.Address, "127.0.0.1") }

func (c *ResolverConfig) setDefaults() {
	for i, s := range c.Servers {
		if a, err := netip.ParseAddr(s); err == nil {
			c.Servers[i] = netip.AddrPortFrom(a, 53).String()
		}
	}
}

func (c *LimitsConfig) setDefaults() {
	for _, b := range c.bounds() {
		if b.number != nil {
			*b.number = cmp.Or(*b.number, b.standard.(int))
		} else {
			orDuration(b.time, b.standard.(time.Duration))
		}
	}
}

func (c *ObserveConfig) setDefaults(folder string) {
	c.LogLevel = cmp.Or(c.LogLevel, "info")
	c.AccessLog = cmp.Or(c.AccessLog, AccessLogStdout)
	if c.AccessLog != AccessLogStdout && c.AccessLog != AccessLogOff {
		resolvePaths(folder, &c.AccessLog)
	}
}

func orDuration(d *Duration, otherwise time.Duration) { d.Duration = cmp.Or(d.Duration, otherwise) }

func resolvePaths(folder string, paths ...*string) {
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
}

// unixScheme begins the URL of a unix socket; a path follows, so unix://state/etcd.sock is a relative one.
const unixScheme = "unix://"

func resolveSocket(folder string, url *string) {
	if path, ok := strings.CutPrefix(*url, unixScheme); ok {
		resolvePaths(folder, &path)
		*url = unixScheme + path
	}
}

// hostName is a name for this process when the file gives none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return strings.ToLower(name)
}
