// Package registry is the hub's register of clusters: who may join, with which certificate, and who must go. It holds
// the trust domain's CA and implements tunnel.Identity for the hub's end of tunnels.
//
// It knows the catalog, certificates and the messages of apis/control. It does not know requests, routes or grants: read
// manifest for what a cluster may use, tunnel for where Identity is asked, hub/admin for who may call Register.
//
// # The life of a gateway
//
// An operator registers a cluster and gets a bundle with a token of 128 bit. A gateway posts token and certificate
// request to the join endpoint (JoinHandler) and gets a certificate for the SPIFFE id that the hub chooses:
//
//	spiffe://<trust-domain>/cluster/<cluster>/gateway/<group>   spoke
//	spiffe://<trust-domain>/hub/<group>                         hub, a child of this one or this one
//
// The group id is minted by the first gateway of a cluster that joins, and shared by all later ones; the Subject
// serialNumber is the instance, one process. Only the key of the request counts; names in it are ignored. At half of
// its life (1 h) the gateway asks for the next certificate over the tunnel, with a new key and the generation it was
// told; if it comes too late, at the join endpoint, signed with the expired certificate's key.
//
// A generation is used once. An older one means that two processes have one key, and locks the instance: neither can be
// told to be the honest one. The same request may be repeated until its answer arrives: a token, or a generation, may be
// used again with the same key. So a gateway keeps the key of a request, on disk, until it has the answer.
//
// # Who must go
//
// A peer may stay while its cluster's record names its group, the Cluster object exists, has its role and is not
// suspended, and its instance is not locked and has not joined anew. Admit decides so at each handshake, and Gone for
// tunnels that are up, both from memory: a hub that is cut off from its catalog goes on with what it knew, and a
// revocation that it could not hear of takes effect when the certificate ends. OnChange says when to ask Gone again.
// When an old backup of the catalog is restored, the hubs write what it lacks of clusters and instances again from
// memory: a restore revives nobody who was revoked since, and costs nobody who joined since.
//
// # Keys in the catalog
//
// JSON; unknown members are ignored by a reader, times are RFC 3339. "sealed" is a Sealer's output under the record's
// own key as name.
//
//	ca/<n>                        caRecord: root certificate, sealed key, whether it issues
//	keys/hub-group                sealed: the hub's group id
//	keys/domain                   sealed: 32 bytes, key of pseudonyms
//	keys/cdn-loop                 sealed macRecord: current and previous CDN-Loop MAC key
//	clusters/<name>               clusterRecord: group, suspension, revocation
//	tokens/<hex SHA-256>          tokenRecord: cluster, end, who used it; never the token
//	instances/<group>/<instance>  instanceRecord: generation, newest certificate, lock
//	serials/<hex>                 serialRecord: every certificate issued to a gateway, until it ends
//	replicas/<name>               control.Hub, on a lease
//	objects/…/Cluster/…           read, and made by Register; see hub/catalog
//
// All roots are trusted, and the issuing one with the highest number issues: a root is replaced by adding it, letting it
// issue once every gateway has heard of it, and deleting the old one after the longest certificate life.
package registry
