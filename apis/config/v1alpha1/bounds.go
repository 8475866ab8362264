package v1alpha1

import "time"

// bound is a field of LimitsConfig with all that is said about it: defaults, checks and docs/limits.md are made of it.
type bound struct {
	field string
	// Either of them is set; standard, low and high are of its type.
	number              *int
	time                *Duration
	standard, low, high any
	// what it bounds, and what a client sees beyond it.
	what, beyond string
}

// bounds is the table of all limits. The caps of hops, attempts and responseHeaders are those of HOPS-AND-RETRIES (H, A, T).
func (c *LimitsConfig) bounds() []bound {
	const closed = "the connection is closed at once, and counted (`penstock_clients_cut_total`)"
	return []bound{
		{"hops", &c.Hops, nil, 4, 1, 8, "gateways that one request may pass", "508, reason `loop-detected`"},
		{"attempts", &c.Attempts, nil, 3, 1, 5, "tries of one request at its destination", "the last answer"},
		{"responseHeaders", nil, &c.ResponseHeaders, 30 * time.Second, 100 * time.Millisecond, 600 * time.Second, "time to the head of the answer, where the Backend sets none", "504, reason `deadline`"},
		{"headerBytes", &c.HeaderBytes, nil, 64 << 10, 4 << 10, 1 << 20, "bytes of a request head", "431, reason `header-too-large`"},
		{"headerFields", &c.HeaderFields, nil, 256, 16, 4096, "fields of a request head", "431, reason `header-too-large`"},
		{"uriBytes", &c.URIBytes, nil, 16 << 10, 256, 1 << 20, "bytes of a request target", "414, reason `uri-too-long`"},
		{"requestMiB", &c.RequestMiB, nil, 0, 0, 1 << 20, "MiB of a request's content; 0: any amount", "413, reason `body-too-large`"},
		{"connections", &c.Connections, nil, 16384, 16, 1 << 20, "connections at one listener", closed},
		{"clientConnections", &c.ClientConnections, nil, 4096, 1, 1 << 20, "connections of one client address at one listener", closed},
		{"connectionStreams", &c.ConnectionStreams, nil, 250, 1, 10000, "requests under way on one HTTP/2 connection", "the stream is refused (REFUSED_STREAM); who goes on loses the connection"},
		{"headTime", nil, &c.HeadTime, 10 * time.Second, time.Second, 5 * time.Minute, "time for a request head, and for a TLS handshake", "the connection is closed"},
		{"bodyIdle", nil, &c.BodyIdle, time.Minute, time.Second, time.Hour, "time for the next bytes of a request's content, until it is answered; gRPC streams have only `responseHeaders`", "408, reason `slow-request`"},
		{"writeIdle", nil, &c.WriteIdle, time.Minute, time.Second, time.Hour, "time to take the next bytes of an answer", "the answer is cut off, and never looks whole"},
		{"connectionIdle", nil, &c.ConnectionIdle, 2 * time.Minute, time.Second, 24 * time.Hour, "time that a connection may stay without a request", "the connection is closed"},
		{"streamIdle", nil, &c.StreamIdle, 10 * time.Minute, time.Second, 24 * time.Hour, "time that a TLS stream (TLSRoute) may stay without a byte", "the stream is closed"},
	}
}
