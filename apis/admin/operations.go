package admin

// The operations, as patterns of http.ServeMux: method, space, path. Server and client share them.
const (
	OpClusterRegister = "POST /v1/clusters"
	OpClusterList     = "GET /v1/clusters"
	OpClusterGet      = "GET /v1/clusters/{name}"
	OpClusterSuspend  = "POST /v1/clusters/{name}/suspend"
	OpClusterResume   = "POST /v1/clusters/{name}/resume"
	OpClusterRevoke   = "POST /v1/clusters/{name}/revoke"
	OpClusterRecover  = "POST /v1/clusters/{name}/recover"

	OpCredentialList   = "GET /v1/credentials"
	OpCredentialSet    = "PUT /v1/credentials/{namespace}/{name}/value"
	OpCredentialRotate = "POST /v1/credentials/{namespace}/{name}/rotate"

	OpObjectList     = "GET /v1/objects"
	OpObjectGet      = "GET /v1/objects/{kind}/{namespace}/{name}"
	OpObjectDelete   = "DELETE /v1/objects/{kind}/{namespace}/{name}"
	OpObjectApply    = "POST /v1/objects/apply"
	OpObjectDiff     = "POST /v1/objects/diff"
	OpObjectValidate = "POST /v1/objects/validate"

	OpExplain = "POST /v1/explain"
	OpWhy     = "GET /v1/refusals/{requestId}"
	OpStatus  = "GET /v1/status"
	OpAudit   = "GET /v1/audit"
	OpVersion = "GET /v1/version"
)

// Operations is every operation, in the order of the package comment, for servers that must prove they serve them all.
func Operations() []string {
	return []string{
		OpClusterRegister, OpClusterList, OpClusterGet, OpClusterSuspend, OpClusterResume, OpClusterRevoke, OpClusterRecover,
		OpCredentialList, OpCredentialSet, OpCredentialRotate,
		OpObjectList, OpObjectGet, OpObjectDelete, OpObjectApply, OpObjectDiff, OpObjectValidate,
		OpExplain, OpWhy, OpStatus, OpAudit, OpVersion,
	}
}

// Names of path and query parameters.
const (
	ParamName      = "name"
	ParamNamespace = "namespace"
	ParamKind      = "kind"
	ParamRequestID = "requestId"
	ParamSince     = "since" // RFC 3339
	ParamLimit     = "limit" // at most MaxAuditRecords
)

// NoNamespace stands in a path for the namespace of a cluster-scoped object.
const NoNamespace = "-"

// Limits on request bodies, in bytes. A server answers 413 beyond them.
const (
	MaxCredentialBytes = 64 << 10
	MaxManifestBytes   = 8 << 20
	// MaxRequestBytes is for the JSON around everything else; manifests grow by half when they become JSON strings.
	MaxRequestBytes = 2 * MaxManifestBytes
)

// MaxAuditRecords is how many records one answer has at most; 100 where nothing is said.
const MaxAuditRecords = 10_000

// OwnerCLI owns the objects that are applied through this API.
const OwnerCLI = "cli"
