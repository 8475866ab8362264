// Package feed turns what several sources hold (a folder, a catalog, a parent's view) into what a gateway serves: one
// goroutine joins bursts, translates, hands the snapshot on and the report back. It knows neither where objects come
// from nor who serves: read manifest for the translation, manifest/file for a folder.
//
// # Order and failure
//
// Nothing is translated before every named source has spoken once, so that a gateway does not start with half a table.
// From then on each change leads to one translation of all sources together, at the latest a second after it was
// announced. A snapshot that does not compile is a fault of translation, not of a manifest: the last good one stays in
// use, and the result says so. At the start there is none to keep, and Run fails.
package feed
