package manifest

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	crvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/deploy"
)

// ReasonSchema is the reason of a finding of Validator: the CRD's schema or one of its CEL rules says no.
const ReasonSchema = "SchemaViolation"

// Validator holds objects of penstock.dev and of the Gateway API to their CRDs as an API server would: defaults, unknown
// fields, structure, list types and CEL rules. Core kinds pass: their Go types are strict already. Safe for concurrent use.
type Validator struct {
	schemas map[schemaKey]*crdSchema
}

type schemaKey struct{ group, kind, version string }

// crdSchema is one version of one kind, compiled when it is first asked for: a process that never sees a kind does not pay
// for its rules.
type crdSchema struct {
	raw  *apiextensionsv1.JSONSchemaProps
	once sync.Once
	err  error

	structural *structuralschema.Structural
	openAPI    crvalidation.SchemaCreateValidator
	cel        *cel.Validator
}

// NewValidator reads the embedded CRDs.
func NewValidator() (*Validator, error) {
	v := &Validator{schemas: map[schemaKey]*crdSchema{}}
	for _, from := range []struct {
		files embed.FS
		glob  string
	}{{deploy.CRDs, "crds/*.yaml"}, {deploy.GatewayAPI, "gatewayapi/*.json"}} {
		names, err := fs.Glob(from.files, from.glob)
		if err != nil || len(names) == 0 {
			return nil, fmt.Errorf("manifest: no CRDs are embedded in package deploy: %w", err)
		}
		for _, name := range names {
			data, err := from.files.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("manifest: read embedded %s: %w", name, err)
			}
			if err := v.add(data); err != nil {
				return nil, fmt.Errorf("manifest: embedded %s: %w; run 'make generate'", name, err)
			}
		}
	}
	return v, nil
}

// add takes the versions of one CRD.
func (v *Validator) add(data []byte) error {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return err
	}
	for _, version := range crd.Spec.Versions {
		if version.Served && version.Schema != nil {
			v.schemas[schemaKey{crd.Spec.Group, crd.Spec.Names.Kind, version.Name}] = &crdSchema{raw: version.Schema.OpenAPIV3Schema}
		}
	}
	return nil
}

// schema is that of an object's version; a version that the CRDs no longer serve is judged by the newest one, since Parse
// reads both alike. Nil: its kind is not judged here.
func (v *Validator) schema(o *Object, version string) *crdSchema {
	if s := v.schemas[schemaKey{o.ID.Group, o.ID.Kind, version}]; s != nil {
		return s
	}
	for _, newest := range []string{"v1", "v1beta1", "v1alpha1"} {
		if s := v.schemas[schemaKey{o.ID.Group, o.ID.Kind, newest}]; s != nil {
			return s
		}
	}
	return nil
}

// compile makes the rules; the first caller pays, with some 10 ms for a kind with many.
func (s *crdSchema) compile() error {
	s.once.Do(func() {
		var props apiextensions.JSONSchemaProps
		if s.err = apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(s.raw, &props, nil); s.err != nil {
			return
		}
		if s.structural, s.err = structuralschema.NewStructural(&props); s.err != nil {
			return
		}
		if s.openAPI, _, s.err = crvalidation.NewSchemaValidator(&props); s.err != nil {
			return
		}
		s.cel = cel.NewValidator(s.structural, true, celconfig.PerCallLimit)
	})
	return s.err
}

// Parse is the package's Parse with every object validated: what is returned has its defaults and would be stored by an
// API server that has our CRDs.
func (v *Validator) Parse(source string, data []byte) ([]Object, []Problem) {
	objects, problems := Parse(source, data)
	valid := objects[:0]
	for _, o := range objects {
		o, ps := v.Validate(o)
		if len(ps) > 0 {
			problems = append(problems, ps...)
			continue
		}
		valid = append(valid, o)
	}
	return valid, sortProblems(problems)
}

// Validate returns the object with the CRD's defaults, or findings. The given object is not changed.
func (v *Validator) Validate(o Object) (Object, []Problem) {
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(o.JSON, &tree); err != nil {
		return o, []Problem{o.Problem("", ReasonMalformed, "is not an object", "write it again")}
	}
	apiVersion, _ := tree["apiVersion"].(string)
	s := v.schema(&o, apiVersion[strings.LastIndexByte(apiVersion, '/')+1:])
	if s == nil {
		return o, nil
	}
	if err := s.compile(); err != nil {
		return o, []Problem{o.Problem("", ReasonSchema, "the rules of its kind cannot be read: "+err.Error(), "this is a bug; report it")}
	}
	if o.ID.Kind == "XBackend" {
		spellAs16(tree)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(tree, s.structural)
	defaulting.Default(tree, s.structural)

	// Parse was strict on the Go types already; the CRD is what an API server holds, so it has the last word.
	unknown := pruning.PruneWithOptions(tree, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	var problems []Problem
	for _, path := range unknown {
		last := path[strings.LastIndexByte(path, '.')+1:]
		problems = append(problems, o.Problem(path, ReasonUnknownField, fmt.Sprintf("%s has no field %q", o.ID.Kind, last),
			"correct its name or its indentation, or remove it"))
	}
	errs := crvalidation.ValidateCustomResource(nil, tree, s.openAPI)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, tree)...)
	if s.cel != nil {
		// Only what has the right structure is fit for rules, as in an API server.
		if len(errs) == 0 {
			celErrs, _ := s.cel.Validate(context.Background(), nil, s.structural, tree, nil, celconfig.RuntimeCELCostBudget)
			errs = append(errs, celErrs...)
		}
	}
	for _, e := range errs {
		problems = append(problems, schemaProblem(o, e))
	}
	if len(problems) > 0 {
		return o, sortProblems(problems)
	}
	raw, err := json.Marshal(tree)
	if err != nil {
		return o, []Problem{o.Problem("", ReasonMalformed, "cannot be written as JSON: "+err.Error(), "")}
	}
	k, _ := findKind(o.ID.Group, o.ID.Kind)
	created := o.Created
	checked, problems := decode(&o, k, raw)
	if len(problems) > 0 {
		return o, problems
	}
	checked.Created = created
	return *checked, nil
}

// spellAs16 writes the port of an XBackend as release 1.6 has it; 1.7 renamed the field, and both are read here.
func spellAs16(tree map[string]any) {
	spec, _ := tree["spec"].(map[string]any)
	port, _ := spec["port"].(map[string]any)
	if number, ok := port["number"]; ok && port["port"] == nil {
		port["port"] = number
		delete(port, "number")
	}
}

// schemaProblem says an API server's field error as a finding.
func schemaProblem(o Object, e *field.Error) Problem {
	path := strings.TrimPrefix(e.Field, "<nil>")
	path = strings.TrimPrefix(path, ".")
	message := e.Detail
	remedy := "correct the value"
	if host, ok := e.BadValue.(string); ok && path == "spec.externalHostname.hostname" {
		// Our own check says more than a pattern does.
		if bad := checkHostname(host, Options{}); !bad.ok() {
			return o.Problem(path, bad.reason, bad.message, bad.remedy)
		}
	}
	switch e.Type {
	case field.ErrorTypeRequired:
		message, remedy = "is required", "add the field"
		if e.Detail != "" && !strings.HasPrefix(e.Detail, "Required") {
			message = e.Detail
		}
	case field.ErrorTypeDuplicate:
		message, remedy = "is there twice", "remove one of the two"
		if value := quoteValue(e.BadValue); value != "" {
			message = value + " " + message
		}
	case field.ErrorTypeNotSupported:
		message = quoteValue(e.BadValue) + " is not one of the values allowed"
		if values, ok := strings.CutPrefix(e.Detail, "supported values: "); ok {
			remedy = "use one of " + values
		}
	case field.ErrorTypeInvalid, field.ErrorTypeTypeInvalid:
		message = strings.TrimPrefix(message, path+" in body ")
		if value := quoteValue(e.BadValue); value != "" {
			message = value + " " + message
		} else {
			remedy = "correct the object"
		}
	}
	return o.Problem(path, ReasonSchema, message, remedy)
}

// quoteValue shows a scalar; of a structure nothing, the empty string.
func quoteValue(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 64 {
			v = v[:64] + "…"
		}
		return fmt.Sprintf("%q", v)
	case int64, float64, bool, int:
		return fmt.Sprint(v)
	}
	return ""
}
