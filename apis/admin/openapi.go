package admin

import (
	_ "embed"
	"slices"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI is the description of this API in OpenAPI 3.1, as YAML. The caller may change what it gets.
func OpenAPI() []byte { return slices.Clone(openAPI) }
