// Package embedded runs a single-member etcd inside the hub's process and hands out a client that calls it directly: no
// port, no socket, unless Config.ListenClient asks for one so that further replicas on the host can share the store.
//
// It is built on etcdserver rather than on etcd's package embed, which is made around listeners. The store is durable:
// every write is on disk (fsync) before it is acknowledged. History is compacted hourly and the space quota is 2 GiB.
//
// etcd ends the process when its disk fails. Here it does not: the failure is kept for [Server.Err], [Server.Done] is
// closed, calls fail as unavailable, and the hub goes on serving from memory until somebody restarts it.
//
// Only this package imports the etcd server. What is stored is none of its business: read hub/catalog/etcd and
// hub/catalog.
package embedded
