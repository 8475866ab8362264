package gateway

import (
	"errors"

	"penstock.dev/penstock/gateway/endpoint"
	"penstock.dev/penstock/gateway/filter"
	"penstock.dev/penstock/gateway/hop"
	"penstock.dev/penstock/gateway/route"
	"penstock.dev/penstock/tunnel"
)

// The reasons that this package adds to those of route.Reason. A reason is a metric label, the "error" of the body and
// the key of docs/errors.md.
const (
	reasonMalformed           = "malformed"
	reasonHeaderTooLarge      = "header-too-large"
	reasonURITooLong          = "uri-too-long"
	reasonBodyTooLarge        = "body-too-large"
	reasonSlowRequest         = "slow-request"
	reasonReservedName        = "reserved-name"
	reasonHopForged           = "hop-forged"
	reasonReservedHost        = "reserved-host"
	reasonNotVouched          = "origin-not-vouched"
	reasonLoop                = "loop-detected"
	reasonDeadline            = "deadline"
	reasonNoPeer              = "no-peer"
	reasonNoControl           = "no-control"
	reasonMethod              = "method-refused"
	reasonIdentityInvalid     = "identity-invalid"
	reasonIdentityUnavailable = "identity-unavailable"
	reasonOverload            = "overload"
	reasonBackendBusy         = "backend-busy"
	reasonSubjectBusy         = "caller-busy"
	reasonNoNextHop           = "no-next-hop"
	reasonFilterFailed        = "filter-failed"
	reasonParentUnreachable   = "parent-unreachable"
	reasonParentCertificate   = "parent-certificate"
	reasonOwnCertificate      = "own-certificate-refused"
	reasonParentStreams       = "parent-streams"
	reasonParentOverload      = "parent-overload"
	reasonParentLost          = "parent-lost"
	reasonParentMalformed     = "parent-malformed"
	reasonDNS                 = "dns"
	reasonProhibited          = "destination-prohibited"
	reasonConnectionRefused   = "connection-refused"
	reasonConnectionTimeout   = "connection-timeout"
	reasonTLSCertificate      = "tls-certificate"
	reasonTLSProtocol         = "tls-protocol"
	reasonTerminated          = "connection-terminated"
	reasonResponseTimeout     = "response-timeout"
	reasonResponseHeaderSize  = "response-header-size"
	reasonProtocol            = "protocol-error"
	reasonUpgrade             = "upgrade-failed"
	reasonCredential          = "credential-unavailable"
	reasonCredentialHost      = "credential-host"
	reasonPanic               = "internal-error"
	reasonClientGone          = "client-gone" // never answered: there is nobody to answer
)

// answer is what the world sees of a reason.
type answer struct {
	status  int
	error   string // of Proxy-Status, RFC 9209 §2.3
	details string // of Proxy-Status; empty: the reason
	message string // for the workload: short and safe
	// retryAfter in seconds; 0: no Retry-After.
	retryAfter int
}

// answers is the table of every refusal (HOPS-AND-RETRIES B.3).
var answers = map[string]answer{
	reasonMalformed:      {400, "http_request_error", "", "the request is malformed", 0},
	reasonHeaderTooLarge: {431, "http_request_error", "", "the request header has too many fields or bytes", 0},
	reasonURITooLong:     {414, "http_request_error", "", "the request target is too long", 0},
	reasonBodyTooLarge:   {413, "http_request_error", "", "the request has more content than this gateway takes", 0},
	reasonSlowRequest:    {408, "http_request_error", "", "the content of the request stopped coming", 0},
	reasonReservedName:   {400, "http_request_error", "", "a reserved header is nominated in Connection or spelled with underscores", 0},
	reasonHopForged:      {403, "http_request_denied", "", "the hop headers do not belong to this peer", 0},
	reasonNotVouched:     {403, "http_request_denied", "", "the peer may not speak for this cluster", 0},
	reasonReservedHost:   {403, "http_request_denied", "", "this host name is reserved", 0},
	reasonLoop:           {508, "proxy_loop_detected", "", "the request came back to a gateway it had passed", 0},
	reasonDeadline:       {504, "http_response_timeout", "", "no time is left for this request", 0},
	reasonNoPeer:         {403, "http_request_denied", "", "this listener is for tunnels", 0},
	reasonNoControl:      {404, "destination_not_found", "", "this gateway has no control service", 0},
	reasonMethod:         {405, "http_request_denied", "", "CONNECT, TRACE and TRACK are not forwarded", 0},

	reasonIdentityInvalid:     {401, "http_request_denied", "", "the identity sent is not valid", 0},
	reasonIdentityUnavailable: {503, "proxy_internal_error", "", "the identity cannot be checked right now", 1},

	string(route.BadPath):          {400, "http_request_error", "", "the path is not acceptable: send it without dot segments and with valid escapes", 0},
	string(route.NoListener):       {404, "destination_not_found", "", "no listener has this host name", 0},
	string(route.NoRoute):          {404, "destination_not_found", "", "no route matches this request", 0},
	string(route.NoBackend):        {500, "proxy_configuration_error", "", "the route has no usable backend", 0},
	string(route.NoEndpoints):      {503, "destination_unavailable", "", "no instance of the service is ready", 1},
	string(route.Misdirected):      {421, "http_request_denied", "", "this connection was opened for another host name; open a new one", 0},
	string(route.NotGranted):       {403, "http_request_denied", "", "no grant lets this caller use the backend", 0},
	string(route.IdentityTooWeak):  {401, "http_request_denied", "", "a stronger proof of identity is needed: send your service account token as Proxy-Authorization: Bearer, or ask the platform to set sourceIP: Trusted on the Cluster or minIdentity on the Backend", 0},
	string(route.ClusterSuspended): {403, "http_request_denied", "", "this cluster is suspended", 0},
	string(route.RefusedByGuard):   {403, "http_request_denied", "", "a request guard refuses this method or path", 0},
	string(route.UnknownFilter):    {500, "proxy_configuration_error", "", "a filter of the route is not known here", 0},

	reasonOverload:    {503, "connection_limit_reached", "", "this gateway is overloaded", 1},
	reasonBackendBusy: {503, "connection_limit_reached", "", "too many requests to this backend are in flight", 1},
	reasonSubjectBusy: {429, "connection_limit_reached", "", "too many requests of this caller are in flight", 1},

	reasonNoNextHop:    {500, "proxy_configuration_error", "", "the backend cannot be reached from this gateway", 0},
	reasonFilterFailed: {500, "proxy_internal_error", "", "a filter failed", 0},

	reasonParentUnreachable: {503, "destination_unavailable", "", "no hub can be reached", 1},            // rows 1, 5, 6
	reasonParentCertificate: {503, "tls_certificate_error", "", "the hub's certificate is bad", 1},       // row 2
	reasonOwnCertificate:    {503, "tls_alert_received", "", "the hub refused our certificate", 1},       // row 3
	reasonParentStreams:     {503, "connection_limit_reached", "", "no free stream to the hub", 1},       // row 4
	reasonParentOverload:    {503, "connection_limit_reached", "", "the hubs are overloaded", 1},         // row 8
	reasonParentLost:        {502, "connection_terminated", "", "the connection to the hub was lost", 0}, // row 9
	reasonParentMalformed:   {502, "http_protocol_error", "", "the hub's answer was malformed", 0},

	reasonDNS:                {502, "dns_error", "", "the destination's name does not resolve", 0},                  // row 15
	reasonProhibited:         {403, "destination_ip_prohibited", "", "the destination's address is not allowed", 0}, // row 16
	reasonConnectionRefused:  {502, "connection_refused", "", "the destination refused the connection", 0},          // row 17
	reasonConnectionTimeout:  {504, "connection_timeout", "", "the connection to the destination timed out", 0},     // row 17
	reasonTLSCertificate:     {502, "tls_certificate_error", "", "the destination's certificate is bad", 0},         // row 18
	reasonTLSProtocol:        {502, "tls_protocol_error", "", "the TLS handshake with the destination failed", 0},   // row 18
	reasonTerminated:         {502, "connection_terminated", "", "the destination closed the connection", 0},        // rows 19, 20
	reasonProtocol:           {502, "http_protocol_error", "", "the destination broke the protocol", 0},             // row 21
	reasonUpgrade:            {502, "http_upgrade_failed", "", "the destination does not switch to the protocol asked for", 0},
	reasonResponseTimeout:    {504, "http_response_timeout", "", "the destination did not answer in time", 0},                     // row 22
	reasonResponseHeaderSize: {502, "http_response_header_section_size", "", "the destination's response header is too large", 0}, // row 28
	reasonCredential:         {503, "proxy_internal_error", "", "the credential for this backend is not available", 5},            // row 14
	reasonCredentialHost:     {403, "http_request_denied", "", "the credential may not be sent to this destination", 0},

	reasonPanic: {502, "proxy_internal_error", "", "the gateway failed", 0}, // row 32
}

// executed says what the destination did with a request that failed (HOPS-AND-RETRIES X3).
type executed string

const (
	executedNo    executed = "no"
	executedMaybe executed = "maybe"
)

// failure is a request that this gateway ends itself. It is an error.
type failure struct {
	reason  string
	details string // of Proxy-Status, in place of the reason; safe for a workload
	// detail and remedy are for operators: the log and `penstock why`.
	detail, remedy string
	executed       executed // set by exchange.fail, which knows what was sent
	loop           hop.Kind // with reasonLoop
	// notProcessed marks the answer as refused before anything (P5); towards a tunnel only.
	notProcessed bool
	cause        error
}

func (f *failure) Error() string {
	if f.detail != "" {
		return f.reason + ": " + f.detail
	}
	return f.reason
}

func (f *failure) Unwrap() error { return f.cause }

func fail(reason, detail, remedy string) *failure {
	return &failure{reason: reason, detail: detail, remedy: remedy, executed: executedNo}
}

// hopFailure maps a refusal of package hop.
func hopFailure(err error) *failure {
	var r *hop.Refusal
	if !errors.As(err, &r) {
		return &failure{reason: reasonPanic, detail: err.Error(), executed: executedNo, cause: err}
	}
	f := fail(string(r.Kind), r.Reason, remedies[string(r.Kind)])
	f.cause = err
	if r.Loop() {
		f.reason, f.details, f.loop = reasonLoop, string(r.Kind), r.Kind
		f.remedy = remedies[reasonLoop]
	}
	return f
}

// filterFailure maps a filter that failed.
func filterFailure(err error) *failure {
	f := fail(reasonFilterFailed, err.Error(), remedies[reasonFilterFailed])
	if errors.Is(err, filter.ErrUnknownType) {
		f.reason = string(route.UnknownFilter)
	}
	f.cause = err
	return f
}

// parentFailure maps the last error of the tries towards a parent (rows 1-9).
func parentFailure(err error, notProcessed bool) *failure {
	f := &failure{executed: executedNo, cause: err}
	switch {
	case notProcessed, errors.Is(err, tunnel.ErrNoOther):
		f.reason = reasonParentOverload
	case errors.Is(err, tunnel.ErrCertificate):
		f.reason = reasonParentCertificate
	case errors.Is(err, tunnel.ErrRefused):
		f.reason = reasonOwnCertificate
	case errors.Is(err, tunnel.ErrStreamLimit):
		f.reason = reasonParentStreams
	case unprocessed(err):
		f.reason = reasonParentUnreachable
	case errors.Is(err, tunnel.ErrMalformed):
		f.reason = reasonParentMalformed
	default:
		f.reason = reasonParentLost
	}
	if err != nil {
		f.detail = err.Error()
	}
	f.remedy = remedies[f.reason]
	return f
}

// causes maps the causes of an endpoint's errors (rows 14-28).
var causes = map[endpoint.Cause]string{
	endpoint.DNSError:              reasonDNS,
	endpoint.DestinationProhibited: reasonProhibited,
	endpoint.SelfDial:              reasonLoop,
	endpoint.ConnectionRefused:     reasonConnectionRefused,
	endpoint.ConnectionTimeout:     reasonConnectionTimeout,
	endpoint.TLSCertificateError:   reasonTLSCertificate,
	endpoint.TLSProtocolError:      reasonTLSProtocol,
	endpoint.ConnectionTerminated:  reasonTerminated,
	endpoint.ResponseTimeout:       reasonResponseTimeout,
	endpoint.ResponseHeaderSize:    reasonResponseHeaderSize,
	endpoint.ProtocolError:         reasonProtocol,
	endpoint.UpgradeFailed:         reasonUpgrade,
	endpoint.CredentialUnavailable: reasonCredential,
	endpoint.CredentialHost:        reasonCredentialHost,
}

// endpointFailure maps the last error of the attempts towards the outside.
func endpointFailure(err error) *failure {
	f := fail(reasonTerminated, err.Error(), "")
	f.cause = err
	var e *endpoint.Error
	if errors.As(err, &e) {
		if reason, ok := causes[e.Cause]; ok {
			f.reason = reason
		}
		if e.Cause == endpoint.SelfDial {
			f.loop, f.details = hop.LoopSelfDial, string(hop.LoopSelfDial)
		}
	}
	f.remedy = remedies[f.reason]
	return f
}

func unprocessed(err error) bool {
	var u interface{ Unprocessed() bool }
	return errors.As(err, &u) && u.Unprocessed()
}
