// Package admin is the API by which people operate a hub: the types, the paths and a client. The server is hub/admin,
// the best-known caller is the penstock command in cli.
//
// It is JSON over HTTP/1.1, on the hub's unix socket (whoever may open the socket may do everything) or over TLS on the
// address of the hub's configuration, with a bearer token or a client certificate, each of which has a role:
// platform-admin (everything), team-admin (objects and credentials of its namespaces) or auditor (reads). The package knows
// what is said, not who may say it nor what it means for the hub: read hub/admin for that.
//
//	POST   /v1/clusters                               RegisterRequest -> 201 control.Bundle   a token, single use
//	GET    /v1/clusters                                               -> ClusterList          sorted by name
//	GET    /v1/clusters/{name}                                        -> Cluster
//	POST   /v1/clusters/{name}/suspend                                -> Cluster              cuts its tunnels, reversible
//	POST   /v1/clusters/{name}/resume                                 -> Cluster
//	POST   /v1/clusters/{name}/revoke                                 -> Cluster              cuts its tunnels for good
//	POST   /v1/clusters/{name}/recover                RecoverRequest  -> control.Bundle       a new token for a known cluster
//
//	GET    /v1/credentials?namespace=                                 -> CredentialList       never a value
//	PUT    /v1/credentials/{namespace}/{name}/value   the bytes       -> Credential           first value or next one
//	POST   /v1/credentials/{namespace}/{name}/rotate  the bytes       -> Credential           404 without a value so far
//
//	GET    /v1/objects?kind=&namespace=                               -> ObjectList           sorted by kind, namespace, name
//	GET    /v1/objects/{kind}/{namespace}/{name}                      -> Object
//	DELETE /v1/objects/{kind}/{namespace}/{name}                      -> Change
//	POST   /v1/objects/apply                          Manifests       -> ChangeList           all or none
//	POST   /v1/objects/diff                           Manifests       -> ChangeList           what apply would do
//	POST   /v1/objects/validate                       Manifests       -> FindingList          what apply would refuse
//
//	POST   /v1/explain                                ExplainRequest  -> Explanation          a decision, nothing is sent
//	GET    /v1/refusals/{requestId}                                   -> RefusalList          404 when none is remembered
//	GET    /v1/status                                                 -> Status
//	GET    /v1/audit?since=&limit=                                    -> AuditList            of the replica that answers
//	GET    /v1/version                                                -> Version
//
// A cluster-scoped object has the namespace "-" in a path (NoNamespace), which no namespace can be called. A kind is
// its name as manifests write it, "Backend"; no two groups serve kinds of one name.
//
// A credential's value travels only as the body of those two requests, as application/octet-stream, at most
// MaxCredentialBytes; no answer, error or log line holds it. Manifests are YAML or JSON documents with the name of
// their source, at most MaxManifestBytes in all; objects that are applied here belong to the owner "cli".
//
// Every answer that is not 2xx is an Error in JSON. An unknown member is ignored by a reader, so that an old client
// understands a newer hub; a meaning never changes. Times are RFC 3339, in UTC.
//
// The same as OpenAPI 3.1, for other languages, is openapi.yaml (OpenAPI), which a test makes from the Go types.
package admin
