package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/testkit/origin"
)

// A redirect is the client's to follow, whatever it looks like: it comes unchanged, after one request, and nobody else hears of
// the credential (T-D7, TH-I3). The other listener takes any host and any path.
func TestRedirectsAreNobodysButTheClients(t *testing.T) {
	ca := origin.NewCA(t)
	o, other := origin.Start(t, origin.Signed(ca)), origin.Start(t, origin.Signed(ca))
	plain := origin.Start(t, origin.Plain(), origin.HTTP1())
	w := newWorld(t)
	w.write(t, "catalog/origin.yaml", originCA(o)+"---"+backend("keyed", o.Name(), o.Port(), with("key"))+backend("other", other.Name(), other.Port(), ""))
	w.write(t, "catalog/key.yaml", credential("key", "Bearer", ""))
	h := w.hub(t, "hub-a", "")
	s := w.spoke(t, h, "east", "")
	if _, err := h.admin.SetCredential(t.Context(), "ai", "key", []byte("sk-canary-redirect")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the credential is there", func() error {
		if a := w.send(t, s, call{host: "keyed", path: "/ready"}); a.status != http.StatusOK {
			return fmt.Errorf("%d %s", a.status, a.body)
		}
		return nil
	})
	name, there := o.Name(), other.Addr().String()
	targets := []string{
		"https://" + there + "/x", "http://" + plain.Addr().String() + "/x", "//" + there + "/x", `\\` + there + `\x`, "https:" + there, "https:///" + there,
		"https://" + name + "@" + there + "/", "https://user:pass@" + there + "/", "https://" + there + "#@" + name, "https://" + name + "." + there + "/",
		fmt.Sprintf("https://%s:%d/", name, other.Port()), "http://" + name + "/", "https://" + name + "./x", "https://" + strings.ToUpper(name) + "/x",
		"https://xn--rgin-5qa7e.example.com/", "https://169.254.169.254/latest", "http://[::ffff:127.0.0.1]:1/", "http://2130706433/", "/elsewhere", "../x", "?q=1", "",
		"https://other.ai.svc.clusterset.local/", "https://hub.penstock.internal/v1", "file:///etc/passwd", "javascript:alert(1)",
	}
	if len(targets) < 20 {
		t.Fatal("T-D7 wants 20 kinds")
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for i, to := range targets {
			path := fmt.Sprintf("/to-%d-%d", status, i)
			o.On(path, func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header()["Location"] = []string{to}
				rw.WriteHeader(status)
			})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader("once"))
			if err != nil {
				t.Fatal(err)
			}
			r.Host = "keyed"
			r.Header.Set("Authorization", teamA)
			res, err := w.client.Transport.RoundTrip(r) // a Client reads Location, and some are not to be read
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if got := res.Header["Location"]; err != nil || res.StatusCode != status || len(got) != 1 || got[0] != to {
				t.Errorf("%d to %q came as %d to %q, %v", status, to, res.StatusCode, got, err)
			}
			if n := o.Count(path); n != 1 {
				t.Errorf("%d to %q: %d requests", status, to, n)
			}
			if strings.Contains(fmt.Sprint(res.Header, string(body)), "sk-canary") {
				t.Errorf("%d to %q shows the credential", status, to)
			}
		}
	}
	if other.Connections() != 0 || plain.Connections() != 0 {
		t.Errorf("%d and %d connections to where nobody sent anything", other.Connections(), plain.Connections())
	}
}
