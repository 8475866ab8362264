package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

const clusterEast = `
apiVersion: penstock.dev/v1alpha1
kind: Cluster
metadata: {name: east}
spec: {role: spoke%s}
`

// An address alone does not get a credential unless the platform says that addresses can be believed; a caller who is
// refused is told both ways out.
func TestACredentialWantsMoreThanAnAddress(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	w.write(t, "catalog/cluster.yaml", fmt.Sprintf(clusterEast, ""))
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("keyed", o.Name(), o.Port(), with("key"))+
		backend("open", o.Name(), o.Port(), "")+backend("lax", o.Name(), o.Port(), with("key")+", minIdentity: ip")+credential("key", "Bearer", ""))
	h := w.hub(t, "hub-a", "")
	if _, err := h.admin.SetCredential(t.Context(), "ai", "key", []byte("the-key")); err != nil {
		t.Fatal(err)
	}
	s := w.spoke(t, h, "east", `  - {namespace: team-a, serviceAccount: batch, cidrs: [127.0.0.0/8]}`)
	const stranger = "Bearer of-nobody" // so that the address is all there is

	a := w.send(t, s, call{host: "keyed", path: "/refused", caller: stranger})
	if a.status != http.StatusUnauthorized {
		t.Fatalf("answer %d, want 401", a.status)
	}
	why, err := h.admin.Why(t.Context(), a.id())
	if err != nil || len(why.Items) == 0 {
		t.Fatalf("why %s: %+v, %v", a.id(), why, err)
	}
	refusal := why.Items[len(why.Items)-1]
	for _, remedy := range []string{"service account token", "sourceIP: Trusted", "minIdentity"} {
		if !strings.Contains(refusal.Remedy, remedy) || !strings.Contains(a.body, remedy) {
			t.Errorf("%q is not in the remedy %q or not in the answer %q", remedy, refusal.Remedy, a.body)
		}
	}
	if refusal.ServiceAccount != "batch" || refusal.Proof != "ip" || refusal.Cluster != "east" || refusal.Backend != "ai/keyed" || refusal.Status != http.StatusUnauthorized {
		t.Errorf("the refusal says %+v", refusal)
	}
	if n := o.Count("/refused"); n != 0 {
		t.Fatalf("%d refused requests reached the origin", n)
	}
	for _, host := range []string{"open", "lax"} {
		if a := w.send(t, s, call{host: host, path: "/" + host, caller: stranger}); a.status != http.StatusOK {
			t.Errorf("%s by address: answer %d %s", host, a.status, a.body)
		}
	}
	if a := w.send(t, s, call{host: "keyed", path: "/token"}); a.status != http.StatusOK || o.Wait(t, "/token", 1).Header.Get("Authorization") != "Bearer the-key" {
		t.Errorf("keyed by token: answer %d %s", a.status, a.body)
	}

	w.write(t, "catalog/cluster.yaml", fmt.Sprintf(clusterEast, ", sourceIP: Trusted"))
	eventually(t, "an address is believed", func() error {
		if a := w.send(t, s, call{host: "keyed", path: "/trusted", caller: stranger}); a.status != http.StatusOK {
			return errors.New(a.body)
		}
		return nil
	})
	if got := o.Wait(t, "/trusted", 1).Header.Get("Authorization"); got != "Bearer the-key" {
		t.Errorf("the origin got %q", got)
	}
}
