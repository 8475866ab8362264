package telemetry

import (
	"net/http"
	"testing"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParseTrace(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"the example of the specification", parent, true},
		{"a later version", "01" + parent[2:], true},
		{"a later version with more behind it", "01" + parent[2:] + "-more", true},
		{"a later version with something glued on", "01" + parent[2:] + "x", false},
		{"version 00 with more behind it", parent + "-more", false},
		{"version ff", "ff" + parent[2:], false},
		{"digits in upper case", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false},
		{"a trace id of zeros", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"a parent id of zeros", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
		{"a letter that is no digit", "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01", false},
		{"one character short", parent[:54], false},
		{"other separators", "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01", false},
		{"space before it", " " + parent, false},
		{"nothing", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseTrace(c.in)
			if (err == nil) != c.ok {
				t.Errorf("ParseTrace(%q) = %+v, %v", c.in, got, err)
			}
		})
	}
}

func TestTraceOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		kept   bool
	}{
		{"a valid traceparent is passed on", []string{parent}, true},
		{"a missing one is minted", nil, false},
		{"an invalid one is replaced", []string{"00-x"}, false},
		{"of two, none is believed", []string{parent, parent}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{"Tracestate": {"a=b"}}
			if c.values != nil {
				h["Traceparent"] = c.values
			}
			got := TraceOf(h)
			if v := h["Traceparent"]; len(v) != 1 || v[0] != got.String() {
				t.Fatalf("traceparent %q, returned %s", v, got)
			}
			if _, err := ParseTrace(got.String()); err != nil {
				t.Error(err)
			}
			if kept := got.String() == parent; kept != c.kept {
				t.Errorf("traceparent %s", got)
			}
			if _, state := h["Tracestate"]; state != c.kept {
				t.Errorf("tracestate kept: %v, want %v", state, c.kept)
			}
		})
	}
}

// FuzzParseTrace: parse, print, parse gives the same, and of version 00 the very text.
func FuzzParseTrace(f *testing.F) {
	f.Add(parent)
	f.Add("01" + parent[2:] + "-x")
	f.Add("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTrace(s)
		if err != nil {
			return
		}
		if got.Version == 0 && got.String() != s {
			t.Fatalf("%q prints as %q", s, got)
		}
		if again, err := ParseTrace(got.String()); err != nil || again != got {
			t.Fatalf("%q, again %+v, %v", s, again, err)
		}
	})
}
