package manifest

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
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

// Validator holds objects of penstock.dev to their CRDs as an API server would: defaults, unknown fields, structure and
// CEL rules. Kinds of other groups pass: their own API server judges them, and Translate refuses what it cannot serve.
// Safe for concurrent use.
type Validator struct {
	schemas map[string]*crdSchema // by kind
}

type crdSchema struct {
	structural *structuralschema.Structural
	openAPI    crvalidation.SchemaCreateValidator
	cel        *cel.Validator
}

// NewValidator compiles the embedded CRDs; this takes some 100 ms of CPU, so make one and keep it.
func NewValidator() (*Validator, error) {
	files, err := fs.Glob(deploy.CRDs, "crds/*.yaml")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("manifest: no CRDs are embedded in package deploy: %w", err)
	}
	v := &Validator{schemas: map[string]*crdSchema{}}
	for _, name := range files {
		data, err := deploy.CRDs.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("manifest: read embedded %s: %w", name, err)
		}
		if err := v.add(data); err != nil {
			return nil, fmt.Errorf("manifest: compile embedded %s: %w; run 'make generate'", name, err)
		}
	}
	return v, nil
}

// add compiles one CRD.
func (v *Validator) add(data []byte) error {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return err
	}
	for _, version := range crd.Spec.Versions {
		if !version.Served || version.Schema == nil {
			continue
		}
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return err
		}
		structural, err := structuralschema.NewStructural(&props)
		if err != nil {
			return err
		}
		openAPI, _, err := crvalidation.NewSchemaValidator(&props)
		if err != nil {
			return err
		}
		v.schemas[crd.Spec.Names.Kind] = &crdSchema{
			structural: structural,
			openAPI:    openAPI,
			cel:        cel.NewValidator(structural, true, celconfig.PerCallLimit),
		}
	}
	return nil
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
	s := v.schemas[o.ID.Kind]
	if o.ID.Group != groupPenstock || s == nil {
		return o, nil
	}
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(o.JSON, &tree); err != nil {
		return o, []Problem{o.Problem("", ReasonMalformed, "is not an object", "write it again")}
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
