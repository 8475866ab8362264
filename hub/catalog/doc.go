// Package catalog is the hub's one truth: objects, clusters, serials and sealed credential material, as bytes with
// metadata. It knows keys, revisions, owners and origins, not what an object means: read package manifest for that.
//
// [Catalog] is the contract: a small set of operations with one order of changes over all keys. Package
// hub/catalog/etcd fulfils it, hub/catalog/embedded runs the store inside the hub's process, and hub/catalog/catalogtest
// has one in memory and the suite that all of them pass. [Objects] keeps owned, versioned objects in a Catalog and
// [Elect] picks one replica among several.
//
// # Keys
//
// Keys are relative: hub/catalog/etcd puts the configured prefix ("/penstock/v1/") before them and takes it off again.
//
//	objects/<group>/<kind>/<namespace>/<name>   an Object, see below
//	secrets/<namespace>/<name>/<version>        one sealed value of a Credential (hub/credential)
//	secrets/<namespace>/<name>/current          which version is in use (hub/credential)
//	ca/<n>                                      an issuing CA, its key sealed; n has 8 digits (hub/registry)
//	clusters/<name>                             what the registry keeps of a cluster beside its Cluster object
//	tokens/<hash>                               a join token, by the hash of it (hub/registry)
//	serials/<serial>                            a certificate that was issued (hub/registry)
//	instances/<group>/<instance>                a gateway process and its generation (hub/registry)
//	replicas/<name>                             a live hub replica, on a lease
//	acks/<replica>                              the revision a replica serves, on a lease
//	keys/<purpose>                              a sealed key shared by all replicas
//	elected/<name>                              the holder of an election, on a lease
//
// A segment stands as it is if it consists of ASCII letters, digits and "-._~:"; every other byte is written %XX with
// upper-case hex digits. The empty segment (no namespace, core group) is "_", and a segment that is "_" itself is "%5F".
// So every name has exactly one key and no name reaches into another's place. The version "current" does not exist.
// A reader skips families it does not know.
//
// # Objects
//
// The value of an object's key is canonical JSON: members sorted by name, no white space, numbers as they were written,
// no HTML escapes. Example, broken over lines:
//
//	{"data":{"metadata":{"labels":{"tier":"gold"}},"spec":{"port":{"number":443}}},
//	 "generation":1,"group":"penstock.dev","kind":"Backend","name":"openai","namespace":"ai",
//	 "origin":"2026-11-22T09:00:00Z","originCluster":"hub-eu","owner":"folder","schema":1,
//	 "status":{"conditions":[]},"uid":"5f0c…"}
//
// group, namespace, originCluster and status may be left out. data holds everything of the manifest but its identity and
// its status. generation starts at 1 and goes up when data changes outside of data.metadata. origin is the time the
// object was first made anywhere; a copy or a restored object keeps it, because ties are decided by age.
//
// schema is 1. A reader refuses a record of a newer schema with a [SchemaError] and leaves it alone; it also refuses a
// field it does not know, so a new field needs a new schema number: a reader that ignored it would drop it on the next
// write. An object is at most [MaxValueBytes] long.
package catalog
