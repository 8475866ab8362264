package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// A Backend with a credential never sends a request without it (HOPS B.3 row 14), whatever happens to the credential, and
// a new value is used from the next request on.
func TestACredentialThatComesChangesAndGoes(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("keyed", o.Name(), o.Port(), with("key")))
	w.write(t, "catalog/key.yaml", credential("key", "Bearer", ""))
	h := w.hub(t, "hub-a", "")
	s := w.spoke(t, h, "east", "")
	get := func() answer { return w.send(t, s, call{host: "keyed", path: "/x"}) }
	refused := func() error {
		if a := get(); a.status < 400 || !strings.HasSuffix(a.header.Get("Proxy-Status"), "executed=no") {
			return fmt.Errorf("answer %d, Proxy-Status %q: %s", a.status, a.header.Get("Proxy-Status"), a.body)
		}
		return nil
	}

	// Row 14: no value was set yet.
	if a := get(); a.status != http.StatusServiceUnavailable || !strings.Contains(a.header.Get("Proxy-Status"), `details="credential-unavailable"`) {
		t.Errorf("without a value: answer %d, Proxy-Status %q: %s", a.status, a.header.Get("Proxy-Status"), a.body)
	}
	if _, err := h.admin.RotateCredential(t.Context(), "ai", "key", []byte("too early")); err == nil {
		t.Error("a credential without a value can be rotated")
	}
	for i, value := range []string{"value-one", "value-two"} {
		set := h.admin.SetCredential
		if i > 0 {
			set = h.admin.RotateCredential
		}
		if _, err := set(t.Context(), "ai", "key", []byte(value)); err != nil {
			t.Fatal(err)
		}
		eventually(t, value+" arrives", func() error {
			if a := get(); a.status != http.StatusOK { // before the first value is seen; never during a rotation
				if i > 0 {
					t.Errorf("a rotation costs a request: answer %d %s", a.status, a.body)
				}
				return fmt.Errorf("answer %d %s", a.status, a.body)
			}
			all := o.Arrivals()
			if got := all[len(all)-1].Header.Get("Authorization"); got != "Bearer "+value {
				return fmt.Errorf("the origin got %q", got)
			}
			return nil
		})
	}

	w.write(t, "catalog/key.yaml", "# the Credential was deleted\n")
	eventually(t, "requests are refused", refused) // F-28
	n := o.Total()
	for range 5 {
		if err := refused(); err != nil {
			t.Error(err)
		}
	}
	if more := o.Total() - n; more != 0 {
		t.Errorf("%d requests went out after the Credential was deleted", more)
	}
	for _, a := range o.Arrivals() {
		if !strings.HasPrefix(a.Header.Get("Authorization"), "Bearer value-") {
			t.Errorf("a request went out with Authorization %q", a.Header.Get("Authorization"))
		}
	}
}
