// Package etcd keeps a catalog in etcd, through the client v3: an outside cluster ([Dial]) or the one that
// hub/catalog/embedded runs in this process.
//
// It knows keys, transactions, leases and watches, and turns etcd's errors into those of package catalog, with a word on
// what to do. Every call has a deadline of its own; a watch resumes where it was, and lists afresh when the history was
// compacted away or the store went back in time.
package etcd
