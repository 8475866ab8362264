package admin_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
)

var update = flag.Bool("update", false, "rewrite openapi.yaml")

// described says what the paths alone do not: body and answer of each operation, and the client's method, whose comment
// is the summary.
type described struct {
	op, method   string
	body, answer any // nil body: none
	status       int
	query        []string
}

// secretBody is the body of a credential's value.
type secretBody struct{}

func describedOperations() []described {
	namespace := []string{admin.ParamNamespace}
	return []described{
		{admin.OpClusterRegister, "RegisterCluster", admin.RegisterRequest{}, control.Bundle{}, 201, nil},
		{admin.OpClusterList, "Clusters", nil, admin.ClusterList{}, 200, nil},
		{admin.OpClusterGet, "Cluster", nil, admin.Cluster{}, 200, nil},
		{admin.OpClusterSuspend, "SuspendCluster", nil, admin.Cluster{}, 200, nil},
		{admin.OpClusterResume, "ResumeCluster", nil, admin.Cluster{}, 200, nil},
		{admin.OpClusterRevoke, "RevokeCluster", nil, admin.Cluster{}, 200, nil},
		{admin.OpClusterRecover, "RecoverCluster", admin.RecoverRequest{}, control.Bundle{}, 200, nil},
		{admin.OpCredentialList, "Credentials", nil, admin.CredentialList{}, 200, namespace},
		{admin.OpCredentialSet, "SetCredential", secretBody{}, admin.Credential{}, 200, nil},
		{admin.OpCredentialRotate, "RotateCredential", secretBody{}, admin.Credential{}, 200, nil},
		{admin.OpObjectList, "Objects", nil, admin.ObjectList{}, 200, []string{admin.ParamKind, admin.ParamNamespace}},
		{admin.OpObjectGet, "Object", nil, admin.Object{}, 200, nil},
		{admin.OpObjectDelete, "DeleteObject", nil, admin.Change{}, 200, nil},
		{admin.OpObjectApply, "Apply", admin.Manifests{}, admin.ChangeList{}, 200, nil},
		{admin.OpObjectDiff, "Diff", admin.Manifests{}, admin.ChangeList{}, 200, nil},
		{admin.OpObjectValidate, "Validate", admin.Manifests{}, admin.FindingList{}, 200, nil},
		{admin.OpExplain, "Explain", admin.ExplainRequest{}, admin.Explanation{}, 200, nil},
		{admin.OpWhy, "Why", nil, admin.RefusalList{}, 200, nil},
		{admin.OpStatus, "Status", nil, admin.Status{}, 200, nil},
		{admin.OpAudit, "Audit", nil, admin.AuditList{}, 200, []string{admin.ParamSince, admin.ParamLimit}},
		{admin.OpVersion, "Version", nil, admin.Version{}, 200, nil},
	}
}

func TestOpenAPIIsWhatTheTypesSay(t *testing.T) {
	var ops []string
	for _, d := range describedOperations() {
		ops = append(ops, d.op)
	}
	if diff := cmp.Diff(admin.Operations(), ops); diff != "" {
		t.Fatalf("described operations (-want +got):\n%s", diff)
	}
	body, err := yaml.Marshal(document(t))
	if err != nil {
		t.Fatal(err)
	}
	got := "# Made from the Go types by: go test ./apis/admin -update\n" + string(body)
	if *update {
		if err := os.WriteFile("openapi.yaml", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return // what is embedded is the old file still
	}
	if diff := cmp.Diff(got, string(admin.OpenAPI())); diff != "" {
		t.Errorf("openapi.yaml differs; run: go test ./apis/admin -update (-want +got):\n%s", diff)
	}
}

type object = map[string]any

func document(t *testing.T) object {
	s := schemas{texts: comments(t), out: object{}}
	paths := object{}
	for _, d := range describedOperations() {
		verb, path, _ := strings.Cut(d.op, " ")
		at, ok := paths[path].(object)
		if !ok {
			at = object{}
			paths[path] = at
		}
		op := object{
			"operationId": d.method,
			"summary":     s.texts["Client."+d.method],
			"responses": object{
				strconv.Itoa(d.status): object{"description": "done", "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(d.answer))}}},
				"default":              object{"description": "not done", "content": object{"application/json": object{"schema": s.of(reflect.TypeFor[admin.Error]())}}},
			},
		}
		var params []any
		for _, name := range regexp.MustCompile(`{(\w+)}`).FindAllStringSubmatch(path, -1) {
			params = append(params, object{"name": name[1], "in": "path", "required": true, "schema": object{"type": "string"}})
		}
		for _, name := range d.query {
			params = append(params, object{"name": name, "in": "query", "schema": object{"type": "string"}})
		}
		if params != nil {
			op["parameters"] = params
		}
		switch d.body.(type) {
		case nil:
		case secretBody:
			op["requestBody"] = object{"required": true, "content": object{"application/octet-stream": object{
				"schema": object{"type": "string", "format": "binary", "maxLength": admin.MaxCredentialBytes, "writeOnly": true},
			}}}
		default:
			op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(d.body))}}}
		}
		at[strings.ToLower(verb)] = op
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Penstock admin API", "version": "v1", "license": object{"name": "Apache-2.0"}},
		"paths":   paths,
		"components": object{
			"schemas":         s.out,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer"}, "certificate": object{"type": "mutualTLS"}},
		},
		"security": []any{object{"token": []any{}}, object{"certificate": []any{}}},
	}
}

// schemas turns Go types into JSON schemas, named ones once.
type schemas struct {
	texts map[string]string
	out   object
}

func (s schemas) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return object{"type": "object"} // json.RawMessage
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": s.of(t.Elem())}
	case t.Kind() == reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case t.Kind() == reflect.Struct:
		if _, ok := s.out[t.Name()]; !ok {
			schema := object{"type": "object"}
			s.out[t.Name()] = schema
			properties, required := object{}, []any{}
			s.fields(t, properties, &required)
			schema["properties"] = properties
			if len(required) > 0 {
				schema["required"] = required
			}
			if text := s.texts[t.Name()]; text != "" {
				schema["description"] = text
			}
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case t.Kind() == reflect.String:
		return object{"type": "string"}
	case t.Kind() == reflect.Bool:
		return object{"type": "boolean"}
	case t.Kind() == reflect.Float64:
		return object{"type": "number"}
	}
	return object{"type": "integer", "format": map[bool]string{true: "int64", false: "int32"}[t.Kind() == reflect.Int64]}
}

func (s schemas) fields(t reflect.Type, properties object, required *[]any) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			s.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := s.of(f.Type)
		if text := s.texts[t.Name()+"."+f.Name]; text != "" {
			schema["description"] = text
		}
		properties[name] = schema
		if !strings.HasPrefix(options, "omit") {
			*required = append(*required, name)
		}
	}
}

// comments are the comments of types, fields and methods, in one line each: they are the descriptions.
func comments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	note := func(name string, groups ...*ast.CommentGroup) {
		for _, g := range groups {
			if text := strings.Join(strings.Fields(g.Text()), " "); text != "" {
				out[name] = text
			}
		}
	}
	for _, pattern := range []string{"*.go", "../control/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (error %v)", pattern, err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv != nil {
						if star, ok := n.Recv.List[0].Type.(*ast.StarExpr); ok {
							note(star.X.(*ast.Ident).Name+"."+n.Name.Name, n.Doc)
						}
					}
					return false
				case *ast.GenDecl:
					for _, spec := range n.Specs {
						s, ok := spec.(*ast.TypeSpec)
						if !ok {
							continue
						}
						note(s.Name.Name, n.Doc)
						if st, ok := s.Type.(*ast.StructType); ok {
							for _, f := range st.Fields.List {
								for _, id := range f.Names {
									note(s.Name.Name+"."+id.Name, f.Comment, f.Doc)
								}
							}
						}
					}
				}
				return true
			})
		}
	}
	return out
}
