// Package telemetry is what operators see of a gateway: metrics, the access log, traces that are passed on, and the
// refusals of the last while. It is the one place that spells a metric or label name.
//
// # Metrics
//
// Every series about requests carries the labels gateway, route, backend, namespace, serviceAccount and cluster, as the
// egress proposal names them (hence the one camel-case label). A missing value is "none". There are at most
// Config.MaxSeries sets of these labels; requests beyond that count under "other" in all of them, so that no caller can
// grow the process's memory or the scrape by inventing names.
//
//	penstock_requests_total{…,code}                   counter    requests answered, by status code
//	penstock_request_duration_seconds{…}              histogram  until the end of the response
//	penstock_attempts{…}                              histogram  request attempts below this gateway
//	penstock_hops{gateway}                            histogram  gateways on the path so far
//	penstock_in_flight{backend}                       gauge      requests waiting for response headers
//	penstock_refusals_total{…,reason}                 counter    requests that a gateway answered itself
//	penstock_loop_detected_total{kind,…}              counter    loops ended here
//	penstock_retry_budget_exhausted_total{…}          counter    repeats that a budget forbade
//	penstock_reserved_header_stripped_total           counter    Penstock-* headers deleted at untrusted listeners
//	penstock_filter_failed_open_total{type}           counter    filters that failed and were passed over
//	penstock_handler_panics_total                     counter    must be 0
//	penstock_access_log_dropped_total                 counter    lines dropped because the sink did not keep up
//	penstock_hidden_repeats_total                     counter    wire requests nobody asked for; must be 0
//	penstock_amplification_ratio                      gauge      upstream attempts / requests, last 60 s
//	penstock_snapshot_revision                        gauge      revision served
//	penstock_config_errors                            gauge      problems in the manifests served
//	penstock_credential_rotations_total{credential}   counter    new versions seen
//	penstock_tunnel_connections{hub,state}            gauge      at a spoke
//	penstock_tunnel_outstanding{hub}                  gauge      exchanges under way, at a spoke
//	penstock_tunnel_rtt_seconds{hub}                  gauge      at a spoke
//	penstock_tunnel_peers{cluster}                    gauge      connections, at a hub
//
// # Access log
//
// One JSON line per request and gateway; the request id is the same at both ends of a tunnel. A line never holds a
// query, a body or a header of the request. The request path only puts an Entry into a bounded queue: when the sink is
// slow, lines are dropped and counted, and requests do not wait (FAULTS F-63).
//
// # Traces
//
// A valid traceparent (W3C Trace Context) is passed on as it came, tracestate with it. A missing or invalid one is
// replaced by a fresh one, and then tracestate is deleted, as the specification demands.
//
// The package knows neither requests nor routes: gateway fills in the labels.
package telemetry
