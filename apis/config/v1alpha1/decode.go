package v1alpha1

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// decode fills out, a pointer to a struct with json tags, from one YAML document of a kind. It works on nodes instead of
// values so that every problem has its line, and so that all of them are found in one run.
func (f *findings) decode(data []byte, kind string, out any) {
	root, ok := f.parse(data)
	if !ok {
		return
	}
	f.lines[""] = root.Line
	if root.Kind != yaml.MappingNode {
		f.addAt(root.Line, "", "write fields, one a line, beginning with apiVersion and kind", "the document is no mapping")
		return
	}
	if f.otherKind(root, kind) {
		return // its fields would all be called unknown
	}
	f.value(root, reflect.ValueOf(out).Elem(), "")
}

// otherKind refuses the file of the other program.
func (f *findings) otherKind(root *yaml.Node, want string) bool {
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != "kind" {
			continue
		}
		for kind, program := range map[string]string{KindHub: "hub", KindSpoke: "spoke"} {
			if root.Content[i+1].Value == kind && kind != want {
				f.addAt(root.Content[i+1].Line, "kind", "start it with "+program+" --config", "%s is the file of a %s", kind, program)
				return true
			}
		}
	}
	return false
}

// yamlLine finds the line in the text of a syntax error; the library has no field for it.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (f *findings) parse(data []byte) (*yaml.Node, bool) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		f.addAt(1, "", "write apiVersion: "+APIVersion+" and kind first", "the file is empty")
		return nil, false
	case err != nil:
		line, text := 1, err.Error()
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			text = strings.TrimPrefix(text, m[0])
			if n, err := strconv.Atoi(m[1]); err == nil {
				line = n
			}
		}
		f.addAt(line, "", "check the indentation and the quotes on this line and the one before", "not YAML: %s", text)
		return nil, false
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		f.addAt(max(more.Line, 1), "", "keep one document and remove the line ---", "the file holds more than one document")
		return nil, false
	}
	return doc.Content[0], true
}

var durationType = reflect.TypeFor[Duration]()

// value decodes one node. Null leaves the zero value: a field that is present but empty is absent.
func (f *findings) value(n *yaml.Node, v reflect.Value, path string) {
	if path != "" {
		f.lines[path] = n.Line
	}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		f.addAt(n.Line, path, "write the value out", "anchors and aliases are not supported")
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
	case v.Type() == durationType:
		f.duration(n, v, path)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.value(n, v.Elem(), path)
	case v.Kind() == reflect.Struct:
		f.fields(n, v, path)
	case v.Kind() == reflect.Map:
		f.entries(n, v, path)
	case v.Kind() == reflect.Slice:
		f.elements(n, v, path)
	case v.Kind() == reflect.String:
		f.text(n, v, path)
	case v.Kind() == reflect.Int:
		f.number(n, v, path)
	default:
		panic("config: no decoder for " + v.Type().String()) // a new type in types.go; every test meets it
	}
}

func (f *findings) fields(n *yaml.Node, v reflect.Value, path string) {
	known := map[string]int{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		known[name] = i
	}
	f.pairs(n, path, func(key, value *yaml.Node, at string) {
		if i, ok := known[key.Value]; ok {
			f.value(value, v.Field(i), at)
			return
		}
		f.addAt(key.Line, at, remedyForUnknown(key.Value, known), "unknown field")
	})
}

func (f *findings) entries(n *yaml.Node, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	f.pairs(n, path, func(key, value *yaml.Node, at string) {
		e := reflect.New(v.Type().Elem()).Elem()
		f.value(value, e, at)
		v.SetMapIndex(reflect.ValueOf(key.Value), e)
	})
}

// pairs calls do for every key of a mapping, once.
func (f *findings) pairs(n *yaml.Node, path string, do func(key, value *yaml.Node, at string)) {
	if n.Kind != yaml.MappingNode {
		f.addAt(n.Line, path, "write its fields below it, indented", "%s where fields are expected", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || !printable(key.Value) {
			f.addAt(key.Line, path, "write a plain name before the colon", "a key that is no plain text")
			continue
		}
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		if line, ok := seen[key.Value]; ok {
			f.addAt(key.Line, at, "remove one of the two", "the field stands on line %d already", line)
			continue
		}
		seen[key.Value] = key.Line
		do(key, value, at)
	}
}

func (f *findings) elements(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		f.addAt(n.Line, path, "write a list, each element on a line of its own that begins with \"- \"", "%s where a list is expected", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, e := range n.Content {
		f.value(e, v.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
}

func (f *findings) text(n *yaml.Node, v reflect.Value, path string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		f.addAt(n.Line, path, "write one value on this line", "%s where text is expected", describe(n))
	case n.Tag != "!!str":
		f.addAt(n.Line, path, "put it in quotes: "+strconv.Quote(n.Value), "%s where text is expected", describe(n))
	case !printable(n.Value):
		f.addAt(n.Line, path, "remove the control characters", "%q holds characters that cannot be printed", n.Value)
	default:
		v.SetString(n.Value)
	}
}

func (f *findings) number(n *yaml.Node, v reflect.Value, path string) {
	var i int
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&i) != nil {
		f.addAt(n.Line, path, "write digits only, without quotes", "%s where a whole number is expected", describe(n))
		return
	}
	v.SetInt(int64(i))
}

func (f *findings) duration(n *yaml.Node, v reflect.Value, path string) {
	const remedy = `write a number with a unit, e.g. "30s"`
	if n.Kind != yaml.ScalarNode {
		f.addAt(n.Line, path, remedy, "%s where a duration is expected", describe(n))
		return
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || n.Tag != "!!str" {
		f.addAt(n.Line, path, remedy, "%q is not a duration", n.Value)
		return
	}
	v.Set(reflect.ValueOf(Duration{d}))
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the truth value " + n.Value
	case "!!str":
		return "the text " + strconv.Quote(n.Value)
	}
	return strconv.Quote(n.Value)
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// remedyForUnknown names the known field that was probably meant, or all of them.
func remedyForUnknown(name string, known map[string]int) string {
	names := make([]string, 0, len(known))
	for k := range known {
		if strings.EqualFold(k, name) || oneEditApart(strings.ToLower(k), strings.ToLower(name)) {
			return `did you mean "` + k + `"?`
		}
		names = append(names, k)
	}
	slices.Sort(names)
	return "known here: " + strings.Join(names, ", ")
}

// oneEditApart reports whether one inserted, removed or changed letter, or two swapped ones, make a of b.
func oneEditApart(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	switch len(a) - len(b) {
	case 0:
		return i == len(a) || a[i+1:] == b[i+1:] || (i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:])
	case 1:
		return a[i+1:] == b[i:]
	}
	return false
}
