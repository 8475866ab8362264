// Package endpoint originates connections to external hosts: resolver, address guard, happy eyeballs, TLS, HTTP/1.1 and
// HTTP/2 pools, and, last of all, the credential. Nobody else dials an FQDN.
package endpoint
