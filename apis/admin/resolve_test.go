package admin

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// The property: whatever a name holds, the request reaches the operation that was meant, with that very name, or is not
// made at all.
func FuzzNamesStayInTheirPlace(f *testing.F) {
	for _, seed := range [][3]string{
		{"Backend", "ai", "openai"}, {"a/b", "..", "%2e%2e"}, {"", "-", "x?y#z"}, {"{name}", "{kind}", " "}, {"Ü", "a\x00b", "//"}, {"apply", "value", "..;"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, kind, namespace, name string) {
		method, target, err := resolve(OpObjectGet, params{ParamKind: kind, ParamNamespace: namespace, ParamName: name})
		if err != nil {
			return
		}
		var got [3]string
		mux := http.NewServeMux()
		for _, op := range Operations() {
			mux.HandleFunc(op, func(_ http.ResponseWriter, r *http.Request) {
				if op != OpObjectGet {
					t.Errorf("%q reached %s", target, op)
				}
				got = [3]string{r.PathValue(ParamKind), r.PathValue(ParamNamespace), r.PathValue(ParamName)}
			})
		}
		// A client's URL is parsed once when the request is made and once when it arrives; both go through here.
		req, err := http.NewRequestWithContext(t.Context(), method, "http://penstock"+target, nil)
		if err != nil {
			t.Fatalf("%q is no URL: %v", target, err)
		}
		mux.ServeHTTP(httptest.NewRecorder(), req)
		if want := [3]string{kind, namespace, name}; got != want {
			t.Errorf("%q arrived as %q, want %q", target, got, want)
		}
	})
}
