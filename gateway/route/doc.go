// Package route is the table the data plane serves: which listener, which rule, which Backend, who may use it.
//
// A Snapshot is data that prints: no funcs, no channels, no client handles, no secret bytes; its compiled form sits in
// unexported fields made by Compile. manifest.Translate makes it, gateway.Gateway reads it, Decide answers every
// question about a request from it alone, so that `penstock explain` and the data plane cannot disagree.
//
// It knows neither Kubernetes nor how a Backend is reached: read manifest and gateway for that.
package route
