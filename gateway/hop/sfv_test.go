package hop

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
	"github.com/google/go-cmp/cmp"
)

// One table per type of RFC 9651 §3.3. What follows the value in each row is parsed as an item.
func TestEachTypeOfValue(t *testing.T) {
	other := value{}
	integer := func(n int64) value { return value{kind: sfInteger, num: n} }
	str := func(s string) value { return value{kind: sfString, text: s} }
	token := func(s string) value { return value{kind: sfToken, text: s} }
	for _, c := range []struct {
		kind, in string
		want     value
		ok       bool
	}{
		{"integer", "0", integer(0), true},
		{"integer", "-0", integer(0), true},
		{"integer", "007", integer(7), true},
		{"integer", "999999999999999", integer(999999999999999), true},
		{"integer", "-999999999999999", integer(-999999999999999), true},
		{"integer", "1000000000000000", other, false}, // 16 digits
		{"integer", "+1", other, false},
		{"integer", "--1", other, false},
		{"integer", "-", other, false},
		{"integer", "- 1", other, false},
		{"integer", "1 2", other, false},
		{"integer", " 1 ", integer(1), true},
		{"integer", "\t1", other, false}, // only spaces are cut
		{"integer", "1;a=2", integer(1), true},
		{"integer", "1; a", integer(1), true},
		{"integer", "1 ;a", other, false},
		{"integer", "1;A", other, false},
		{"integer", "", other, false},

		{"decimal", "1.0", other, true},
		{"decimal", "-1.123", other, true},
		{"decimal", "123456789012.123", other, true},
		{"decimal", "1234567890123.1", other, false},
		{"decimal", "1.1234", other, false},
		{"decimal", "1.", other, false},
		{"decimal", ".1", other, false},
		{"decimal", "1.1.1", other, false},
		{"decimal", "1e3", other, false},

		{"string", `""`, str(""), true},
		{"string", `"a b"`, str("a b"), true},
		{"string", `"a\"b\\c"`, str(`a"b\c`), true},
		{"string", `"a\nb"`, other, false},
		{"string", `"a`, other, false},
		{"string", `"a\`, other, false},
		{"string", "\"a\x7f\"", other, false},
		{"string", "\"a\tb\"", other, false},
		{"string", "\"ä\"", other, false},
		{"string", `'a'`, other, false},

		{"token", "a", token("a"), true},
		{"token", "*a:b/c", token("*a:b/c"), true},
		{"token", "A!#$%&'*+-.^_`|~9", token("A!#$%&'*+-.^_`|~9"), true},
		{"token", "a b", other, false},
		{"token", "a,b", other, false},
		{"token", "a(b", other, false},
		{"token", "_a", other, false},

		{"byte sequence", "::", other, true},
		{"byte sequence", ":aGVsbG8=:", other, true},
		{"byte sequence", ":aGVsbG8:", other, true}, // without padding: parsers should take it
		{"byte sequence", ":aGVsbG8=", other, false},
		{"byte sequence", ":a b:", other, false},
		{"byte sequence", ":a-b_:", other, false},
		{"byte sequence", ":=:", other, false},
		{"byte sequence", ":a=b:", other, false},
		{"byte sequence", ":====:", other, false},

		{"boolean", "?0", other, true},
		{"boolean", "?1", other, true},
		{"boolean", "?2", other, false},
		{"boolean", "?", other, false},
		{"boolean", "?true", other, false},

		{"date", "@0", other, true},
		{"date", "@-1659578233", other, true},
		{"date", "@1.5", other, false},
		{"date", "@", other, false},
		{"date", "@@1", other, false},

		{"display string", `%"a"`, other, true},
		{"display string", `%"f%c3%bc"`, other, true},
		{"display string", `%"f%C3%BC"`, other, false}, // upper case
		{"display string", `%"%fc"`, other, false},     // not UTF-8
		{"display string", `%"%c3"`, other, false},     // half of a character
		{"display string", `%"%c"`, other, false},
		{"display string", `%"a`, other, false},
		{"display string", `%a`, other, false},
		{"display string", "%\"ü\"", other, false},
	} {
		got, err := parseItem(c.in)
		if (err == nil) != c.ok || err == nil && got != c.want {
			t.Errorf("%s %q: %+v, %v; want %+v, accepted %v", c.kind, c.in, got, err, c.want, c.ok)
		}
		if diff := againstTheOther("item", c.in); diff != "" {
			t.Errorf("%s %q: %s", c.kind, c.in, diff)
		}
	}
}

func TestListsAndDictionaries(t *testing.T) {
	for _, c := range []struct {
		kind, in string
		members  int
		ok       bool
	}{
		{"list", "", 0, true},
		{"list", "a", 1, true},
		{"list", "a, b", 2, true},
		{"list", "a,b", 2, true},
		{"list", "a \t,\t b", 2, true},
		{"list", "a, b,", 0, false},
		{"list", ",a", 0, false},
		{"list", "a,,b", 0, false},
		{"list", "a b", 0, false},
		{"list", "(a b), c", 2, true},
		{"list", "(  a  b  )", 1, true},
		{"list", "()", 1, true},
		{"list", "(a,b)", 0, false},
		{"list", "(a", 0, false},
		{"list", "(a\tb)", 0, false},
		{"list", "((a))", 0, false},
		{"list", `"x";i="a1", "y";i="b7"`, 2, true},
		{"list", "(a;x b;y);z", 1, true},
		{"dictionary", "", 0, true},
		{"dictionary", "a=1, b=2", 2, true},
		{"dictionary", "a", 1, true},
		{"dictionary", "a;x, b", 2, true},
		{"dictionary", "a=(1 2);x", 1, true},
		{"dictionary", "*a=1", 1, true},
		{"dictionary", "a-b_c.d*e=1", 1, true},
		{"dictionary", "A=1", 0, false},
		{"dictionary", "1a=1", 0, false},
		{"dictionary", "a=", 0, false},
		{"dictionary", "a =1", 0, false},
		{"dictionary", "a= 1", 0, false},
		{"dictionary", "a=1,", 0, false},
		{"dictionary", "a=1 b=2", 0, false},
	} {
		parse := map[string]func(string) ([]member, error){"list": parseList, "dictionary": parseDict}[c.kind]
		got, err := parse(c.in)
		if (err == nil) != c.ok || err == nil && len(got) != c.members {
			t.Errorf("%s %q: %d members, %v; want %d, accepted %v", c.kind, c.in, len(got), err, c.members, c.ok)
		}
		if diff := againstTheOther(c.kind, c.in); diff != "" {
			t.Errorf("%s %q: %s", c.kind, c.in, diff)
		}
	}
}

// FuzzStructuredFields: this parser and another implementation of RFC 9651 agree about every field that is not too long
// for us: on whether it is one, and on the values of the types that we use.
func FuzzStructuredFields(f *testing.F) {
	for _, seed := range []string{
		`"sp-9f";i="a1", "hub-3c";i="b7"`, "h=3, a=3, t=29480, s=0", `ns="team-a", sa="bot", m=token`, "n=2, c=1",
		"a;v=1;x=aGVsbG8", "(a b;c);d, 1.5, ?1, @7, :aGk=:", `%"f%c3%bc"`, "a=1, a=2", "a=(1 2)", " a ", "\t", "a,\tb", "-0", "000001",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxField {
			return
		}
		for _, kind := range []string{"item", "list", "dictionary"} {
			if diff := againstTheOther(kind, s); diff != "" {
				t.Errorf("%s %q: %s", kind, s, diff)
			}
		}
	})
}

// againstTheOther says how our parser and the other one differ about a field; empty: they do not.
func againstTheOther(kind, s string) string {
	ours, err := oursOf(kind, s)
	theirs, theirErr := theirsOf(kind, s)
	var padding base64.CorruptInputError
	switch {
	case err == nil && errors.As(theirErr, &padding):
		return "" // the other one insists on padding, which RFC 9651 §4.2.7 would rather not
	case (err == nil) != (theirErr == nil):
		return "ours says " + says(err) + ", the other one " + says(theirErr)
	case err != nil:
		return ""
	}
	return cmp.Diff(theirs, ours, cmp.AllowUnexported(plainMember{}, plainParam{}, value{}))
}

func says(err error) string {
	if err == nil {
		return "yes"
	}
	return err.Error()
}

// plainMember is what both parsers can tell. Of repeated keys the last one counts, at the place of the first.
type plainMember struct {
	key    string
	value  value
	params []plainParam
}

type plainParam struct {
	key   string
	value value
}

func oursOf(kind, s string) (out []plainMember, err error) {
	var members []member
	switch kind {
	case "item":
		v, err := parseItem(s)
		return []plainMember{{value: v}}, err
	case "list":
		members, err = parseList(s)
	default:
		members, err = parseDict(s)
	}
	for _, m := range members {
		p := plainMember{key: m.key, value: m.value}
		for _, q := range m.params {
			p.params = put(p.params, plainParam(q), func(a plainParam) string { return a.key })
		}
		if kind == "dictionary" {
			out = put(out, p, func(a plainMember) string { return a.key })
		} else {
			out = append(out, p)
		}
	}
	return out, err
}

func put[T any](list []T, v T, key func(T) string) []T {
	for i := range list {
		if key(list[i]) == key(v) {
			list[i] = v
			return list
		}
	}
	return append(list, v)
}

func theirsOf(kind, s string) (out []plainMember, err error) {
	if strings.TrimLeft(s, " ") == "" && kind != "item" {
		return nil, nil // an empty field is an empty list (RFC 9651 §4.2 step 5); the other one wants no field at all
	}
	switch kind {
	case "item":
		i, err := httpsfv.UnmarshalItem([]string{s})
		if err != nil {
			return nil, err
		}
		return []plainMember{{value: plainValue(i.Value)}}, nil
	case "list":
		l, err := httpsfv.UnmarshalList([]string{s})
		for _, m := range l {
			out = append(out, plain("", m))
		}
		return out, err
	}
	d, err := httpsfv.UnmarshalDictionary([]string{s})
	if err != nil {
		return nil, err
	}
	for _, name := range d.Names() {
		m, _ := d.Get(name)
		out = append(out, plain(name, m))
	}
	return out, nil
}

func plain(key string, m httpsfv.Member) plainMember {
	out := plainMember{key: key}
	var params *httpsfv.Params
	switch m := m.(type) {
	case httpsfv.Item:
		out.value, params = plainValue(m.Value), m.Params
	case httpsfv.InnerList:
		params = m.Params
	}
	if params != nil {
		for _, name := range params.Names() {
			v, _ := params.Get(name)
			out.params = append(out.params, plainParam{name, plainValue(v)})
		}
	}
	return out
}

func plainValue(v any) value {
	switch v := v.(type) {
	case int64:
		return value{kind: sfInteger, num: v}
	case string:
		return value{kind: sfString, text: v}
	case httpsfv.Token:
		return value{kind: sfToken, text: string(v)}
	}
	return value{}
}
