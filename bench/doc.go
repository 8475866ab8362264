// Command bench measures our chain of two gateways beside plain reverse proxies, in one run on one machine, so that the
// figures differ by the chain and nothing else. The path is the same for all:
//
//	client, plain HTTP/1.1 -> spoke -> mTLS -> hub -> HTTPS, TLS 1.3, HTTP/1.1 -> upstream
//
// The hub writes Authorization; the upstream refuses a request without the right one. Every hop, the upstream too, is a
// process of its own on loopback with a port of its own; bench starts and ends them (bench -role is what the plain ones
// run). A request that fails or brings a wrong answer makes the whole run fail: a fast wrong answer is no figure.
//
// Load generator and upstream run on the same cores as the hops, so CPU time per request of spoke and hub is the figure
// to compare, and only within one report.
//
// bench knows no package of ours: it starts the programs in -bin and speaks to them as a user would. chains.go and
// penstock.go say what is measured, load.go how it is loaded, measure.go which figures come out; read those three first.
// docs/benchmarks.md says how to repeat a run and what the figures mean.
package main
