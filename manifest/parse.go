package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// MaxDocumentBytes is the longest document Parse reads; an API server stores no more either (etcd's request limit).
const MaxDocumentBytes = 1536 << 10

// defaultNamespace is where an object goes that names no namespace, as kubectl has it.
const defaultNamespace = "default"

// The reasons of Parse, beside those of conditions.
const (
	ReasonMalformed       = "Malformed"       // not YAML, not one object, a key twice, a value of the wrong type
	ReasonUnknownKind     = "UnknownKind"     // apiVersion and kind that nobody here reads
	ReasonUnsupportedKind = "UnsupportedKind" // a kind that is not served yet
	ReasonUnknownField    = "UnknownField"    // a field that the kind does not have
	ReasonInvalidName     = "InvalidName"     // metadata that an API server would refuse
	ReasonDuplicate       = "Duplicate"       // a second object of the same kind, namespace and name
)

// Parse reads a multi-document YAML (or JSON) file strictly: an unknown field, a key written twice and a kind that is
// not read here are findings. A faulty document costs only itself; the objects of all others are returned, in order.
// source is the file name that findings show.
//
// Parse checks form, not sense: Validator adds what the CRDs say, Translate decides what is served. Pure.
func Parse(source string, data []byte) ([]Object, []Problem) {
	var objects []Object
	var problems []Problem
	for _, d := range splitDocuments(data) {
		o, ps := parseDocument(Source{File: source, Document: d.index, Line: d.line}, d.data)
		problems = append(problems, ps...)
		if len(ps) == 0 && o != nil {
			objects = append(objects, *o)
		}
	}
	return objects, problems
}

// document is one part of a file between two "---" lines.
type document struct {
	index int
	line  int // of its first line, counted from 1
	data  []byte
}

// splitDocuments cuts a file at its "---" lines before anything is parsed, so that a broken document does not take
// those after it along. Documents without content are left out but counted.
func splitDocuments(data []byte) []document {
	var docs []document
	index, line, start, startLine := 0, 1, 0, 1
	flush := func(end int) {
		if part := data[start:end]; hasContent(part) {
			docs = append(docs, document{index: index, line: startLine, data: part})
		}
		index++
	}
	for pos := 0; pos < len(data); line++ {
		next := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		if isSeparator(data[pos:next]) {
			// The text before the first separator is a document only if it has content.
			if pos > 0 {
				flush(pos)
			}
			start, startLine = next, line+1
		}
		pos = next
	}
	flush(len(data))
	return docs
}

func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && len(bytes.TrimSpace(bytes.SplitN(rest, []byte("#"), 2)[0])) == 0
}

// hasContent reports whether anything but comments and blank lines is there.
func hasContent(part []byte) bool {
	for line := range bytes.Lines(part) {
		if l := bytes.TrimSpace(line); len(l) > 0 && l[0] != '#' {
			return true
		}
	}
	return false
}

// parseDocument returns the object, or findings.
func parseDocument(src Source, data []byte) (*Object, []Problem) {
	one := func(p Problem) (*Object, []Problem) { return nil, []Problem{p} }
	at := Problem{File: src.File, Line: src.Line}
	if len(data) > MaxDocumentBytes {
		at.Reason, at.Message = ReasonMalformed, fmt.Sprintf("the document has %d bytes, more than %d", len(data), MaxDocumentBytes)
		at.Remedy = "cut it into several objects"
		return one(at)
	}
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return one(yamlProblem(at, err))
	}
	var tree map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &tree); err != nil || tree == nil {
		at.Reason, at.Message = ReasonMalformed, "the document is not an object"
		at.Remedy = "write one object per document, with apiVersion, kind and metadata"
		return one(at)
	}
	// Status is what others report about the object; it is never input, and keeping it would make each report a change.
	delete(tree, "status")

	o := &Object{Source: src, lines: fieldLines(data, src.Line)}
	k, p := identify(o, tree)
	if p != nil {
		return one(*p)
	}
	raw, err = json.Marshal(tree)
	if err != nil {
		return one(o.Problem("", ReasonMalformed, "cannot be written as JSON: "+err.Error(), ""))
	}
	return decode(o, k, raw)
}

// decode fills Value, JSON and Created from the canonical JSON.
func decode(o *Object, k kind, raw []byte) (*Object, []Problem) {
	value := k.newValue()
	strict, err := kjson.UnmarshalStrict(raw, value, kjson.DisallowUnknownFields)
	if err != nil {
		return nil, []Problem{typeProblem(o, err)}
	}
	var ps []Problem
	for _, e := range strict {
		ps = append(ps, strictProblem(o, e))
	}
	if len(ps) > 0 {
		return nil, ps
	}
	if x, ok := value.(*xBackend); ok {
		b, p := x.convert(o)
		if p != nil {
			return nil, []Problem{*p}
		}
		value = b
	}
	if s, ok := value.(*corev1.Secret); ok {
		mergeStringData(s)
	}
	value.SetNamespace(o.ID.Namespace)
	o.Value, o.JSON = value, raw
	o.Created = value.GetCreationTimestamp().Time
	return o, nil
}

// identify reads apiVersion, kind and metadata and fills in ID; the tree gets the default namespace.
func identify(o *Object, tree map[string]any) (kind, *Problem) {
	fail := func(field, reason, message, remedy string) (kind, *Problem) {
		p := o.Problem(field, reason, message, remedy)
		if o.ID.Name == "" {
			p.Object = o.ID.Kind
		}
		return kind{}, &p
	}
	apiVersion, _ := tree["apiVersion"].(string)
	name, _ := tree["kind"].(string)
	if apiVersion == "" || name == "" {
		return fail("", ReasonMalformed, "apiVersion or kind is missing", `write e.g. "apiVersion: penstock.dev/v1alpha1" and "kind: Backend"`)
	}
	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group, version = "", apiVersion
	}
	o.ID.Group, o.ID.Kind = group, name
	meta, _ := tree["metadata"].(map[string]any)
	o.ID.Name, _ = meta["name"].(string)
	o.ID.Namespace, _ = meta["namespace"].(string)

	k, ok := findKind(group, name)
	switch {
	case !ok:
		return fail("kind", ReasonUnknownKind, fmt.Sprintf("%s of %s is not a kind that is read here", name, apiVersion),
			"correct apiVersion and kind, or move the object out of this folder")
	case k.unserved:
		return fail("kind", ReasonUnsupportedKind, name+" is not served yet", "remove the object")
	case !slices.Contains(k.versions, version):
		return fail("apiVersion", ReasonUnknownKind, fmt.Sprintf("%s has no version %q", name, version),
			fmt.Sprintf("write apiVersion: %s", strings.TrimPrefix(group+"/"+k.versions[0], "/")))
	case o.ID.Name == "":
		return fail("metadata.name", ReasonInvalidName, "the object has no name", "set metadata.name")
	}
	if errs := validation.IsDNS1123Subdomain(o.ID.Name); len(errs) > 0 {
		return fail("metadata.name", ReasonInvalidName, fmt.Sprintf("%q is not a valid name", o.ID.Name),
			"use lower case letters, digits, '-' and '.', at most 253 characters")
	}
	if k.clusterScoped {
		if o.ID.Namespace != "" {
			return fail("metadata.namespace", ReasonInvalidName, name+" has no namespace", "remove metadata.namespace")
		}
		return k, nil
	}
	if o.ID.Namespace == "" {
		o.ID.Namespace = defaultNamespace
	}
	if errs := validation.IsDNS1123Label(o.ID.Namespace); len(errs) > 0 {
		return fail("metadata.namespace", ReasonInvalidName, fmt.Sprintf("%q is not a valid namespace", o.ID.Namespace),
			"use lower case letters, digits and '-', at most 63 characters")
	}
	meta["namespace"] = o.ID.Namespace
	return k, nil
}

var yamlLine = regexp.MustCompile(`line (\d+): (.*)`)

// yamlProblem turns the decoder's error, whose line counts from the document's begin, into a finding.
func yamlProblem(at Problem, err error) Problem {
	at.Reason, at.Remedy = ReasonMalformed, "correct the YAML"
	text := err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			at.Line += n - 1
		}
		text = m[2]
	}
	text = strings.TrimPrefix(text, "error converting YAML to JSON: ")
	text = strings.TrimPrefix(text, "yaml: ")
	at.Message = "cannot be read: " + firstLine(text)
	if key, ok := strings.CutSuffix(firstLine(text), " already set in map"); ok {
		at.Message, at.Remedy = key+" is written twice", "keep one of the two"
	}
	return at
}

// typeProblem is a value of the wrong type. The decoder's text names Go types and may quote the value, which in a
// Secret is the secret: only the field is kept.
func typeProblem(o *Object, err error) Problem {
	field := ""
	if m := typeField.FindStringSubmatch(err.Error()); m != nil {
		field = m[2]
	}
	message := "a value has the wrong type"
	if m := typeWant.FindStringSubmatch(err.Error()); m != nil {
		message = fmt.Sprintf("got a %s, want %s", m[1], goTypeName(m[2]))
	} else if o.ID.Kind != "Secret" {
		message = firstLine(err.Error())
	}
	if strings.Contains(err.Error(), "illegal base64") {
		return o.Problem("data", ReasonMalformed, "a value is not base64", "encode it, or write it under stringData")
	}
	return o.Problem(field, ReasonMalformed, message, "correct the value")
}

var (
	typeField = regexp.MustCompile(`Go struct field ([A-Za-z0-9_]+)\.([A-Za-z0-9_.\[\]-]+) of type`)
	typeWant  = regexp.MustCompile(`cannot unmarshal (\S+).* into Go .*?of type (\S+)$`)
)

// goTypeName says a Go type in words that fit YAML.
func goTypeName(t string) string {
	switch {
	case t == "[]uint8":
		return "a string in base64"
	case strings.HasPrefix(t, "[]"):
		return "a list"
	case strings.HasPrefix(t, "map["):
		return "an object"
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"), strings.HasPrefix(t, "float"):
		return "a number"
	case t == "bool":
		return "true or false"
	case t == "string":
		return "a string"
	}
	return "an object or a string of its kind"
}

// strictProblem is an unknown or repeated field.
func strictProblem(o *Object, err error) Problem {
	field := ""
	var fe kjson.FieldError
	if errors.As(err, &fe) {
		field = fe.FieldPath()
	}
	last := field[strings.LastIndexByte(field, '.')+1:]
	return o.Problem(field, ReasonUnknownField, fmt.Sprintf("%s has no field %q", o.ID.Kind, last),
		"correct its name or its indentation, or remove it")
}

// mergeStringData does what the API server does with a Secret's write-only member.
func mergeStringData(s *corev1.Secret) {
	for key, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[key] = []byte(v)
	}
	s.StringData = nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(line)
}
