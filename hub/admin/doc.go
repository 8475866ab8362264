// Package admin serves the admin API of a hub: the operations of apis/admin, on a unix socket and over TLS.
//
// It knows who may call, what a call says, and what must be written down about it. It does not know how a cluster
// joins (hub/registry), how a value is sealed (hub/credential), what a manifest means (manifest) or what the hub serves
// just now: these come in by Config, as small interfaces. The wire format is specified in apis/admin.
//
// # Who may call
//
// Whoever may open the socket (mode 0600) may do everything; the actor is the peer's user id. Over TLS 1.3 a caller
// needs a bearer token whose SHA-256 is configured, compared in constant time, or a certificate of the configured
// client CA that the configuration names. Each has a role (role.go): what an operation asks is one table, and what a
// team-admin's manifests and lists may hold is looked at beside it. A certificate with the SPIFFE id of a gateway is refused, whatever its CA:
// a stolen spoke must not become an administrator (T-D4). So is a request that a browser sends for another site.
//
// # What is written down
//
// Each write, done or refused, has two records in the audit (Trail): one before anything is done, without which it is not,
// and one of what came of it. The file is a chain of hashes (admin.AuditRecord). It is also a log line "admin" with actor,
// verb, object and outcome; each refused caller is one with its address. Values, tokens and bodies are in no record, no log line, no error and no answer: a Secret is shown without its
// data, an unexpected error as "internal" with its cause in the log alone.
//
// # Apply
//
// Apply refuses a set of manifests as a whole if one of them is malformed, breaks its schema, belongs to another owner,
// or would not be accepted (condition Accepted) together with what is there. A reference that does not resolve yet is
// not a reason: its target may come later; Validate names it all the same. What passes is written object by object; if
// the catalog fails in between, the error says how far it got, and the same apply completes it.
package admin
