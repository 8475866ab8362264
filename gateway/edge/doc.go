// Package edge is the server of workload listeners: it takes connections, TLS ones too, speaks HTTP/1.1 with the strict
// codec of gateway/h1 and HTTP/2, and holds every client to the limits that docs/limits.md lists, before a handler sees
// anything of it.
//
// It knows connections and messages, not routes: read gateway for what happens to a request.
package edge
