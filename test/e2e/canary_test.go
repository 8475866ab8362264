package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/internal/testkit/origin"
)

// canaries are values of the four kinds, and how the origin must see them: the control, without which a search that finds
// nothing would prove nothing.
var canaries = []struct {
	name, kind, place, value string
	seen                     func(*origin.Arrival) bool
}{
	{"header", "Header", ", header: {name: X-Key, prefix: 'Token '}", "canary-header-8d1f42aa", func(a *origin.Arrival) bool {
		return a.Header.Get("X-Key") == "Token canary-header-8d1f42aa"
	}},
	{"bearer", "Bearer", "", "canary-bearer-77c0e913", func(a *origin.Arrival) bool {
		return a.Header.Get("Authorization") == "Bearer canary-bearer-77c0e913"
	}},
	{"basic", "Basic", "", "canary-user:canary-basic-5b6e20cd", func(a *origin.Arrival) bool {
		return a.Header.Get("Authorization") == "Basic "+base64.StdEncoding.EncodeToString([]byte("canary-user:canary-basic-5b6e20cd"))
	}},
	{"query", "QueryParameter", ", queryParameter: {name: key}", "canary query/1f9a+b3", func(a *origin.Arrival) bool {
		v, err := url.ParseQuery(a.RawQuery)
		return err == nil && v.Get("key") == "canary query/1f9a+b3"
	}},
}

// TH-I1: no credential appears anywhere but at its destination, not even while everything goes wrong and every log is at
// its most talkative.
func TestCredentialsAppearNowhere(t *testing.T) {
	o := origin.Start(t)
	w := newWorld(t)
	var catalog strings.Builder
	catalog.WriteString(originCA(o) + "---")
	closed := closedPort(t)
	for _, c := range canaries {
		catalog.WriteString(credential(c.name, c.kind, c.place))
		catalog.WriteString(backend("to-"+c.name, o.Name(), o.Port(), with(c.name)))
		catalog.WriteString(backend("down-"+c.name, o.Name(), closed, with(c.name)))
		// The credential may go there, but the certificate names another host.
		catalog.WriteString(backend("wrong-"+c.name, "wrong.example.com", o.Port(), with(c.name)))
	}
	w.write(t, "catalog/all.yaml", catalog.String())
	h := w.hub(t, "hub-a", "")
	for _, c := range canaries {
		for _, set := range []func(context.Context, string, string, []byte) (admin.Credential, error){h.admin.SetCredential, h.admin.RotateCredential} {
			if _, err := set(t.Context(), "ai", c.name, []byte(c.value)); err != nil {
				t.Fatal(err)
			}
		}
		// What cannot be used is refused, and the refusal must not quote it.
		if _, err := h.admin.SetCredential(t.Context(), "ai", c.name, []byte(c.value+"\n")); err == nil || holds(err.Error(), c.value) != "" {
			t.Errorf("%s: a value with a line break: %v", c.name, err)
		}
	}
	s := w.spoke(t, h, "east", "")

	places := map[string]string{} // where to look
	var ids []string
	for _, c := range canaries {
		for _, host := range []string{"to-", "down-", "wrong-"} {
			for _, r := range []call{
				{path: "/canary/" + c.name},
				{path: "/reset/" + c.name},
				{method: "POST", path: "/reset/" + c.name, body: strings.NewReader("x")},
				{path: "/status/500"},
				{path: "/redirect?to=https://" + o.Name() + "/elsewhere"},
				{path: "/reset-body?n=10"},
				{path: "/canary/" + c.name, caller: teamB},
				{path: "/%2e%2e/" + c.name},
				{path: "/a%zz"},
				{path: "/canary/guess", header: map[string]string{"X-Key": "mine", "Proxy-Authorization": teamA}},
			} {
				r.host = host + c.name
				res, err := w.try(t.Context(), s, r)
				if err != nil {
					places[fmt.Sprintf("error of %s%s", r.host, r.path)] = err.Error()
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				places[fmt.Sprintf("answer to %s %s%s by %s", r.method, r.host, r.path, r.caller)] = fmt.Sprint(res.StatusCode, res.Header, string(body), err)
				ids = append(ids, res.Header.Get("X-Request-Id"))
			}
		}
	}
	for i, raw := range []string{
		"GET /x HTTP/1.1\r\nHost: to-bearer\r\nBad Header: x\r\n\r\n", "nonsense\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: to-basic\r\nAuthorization: " + teamA + "\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		places[fmt.Sprintf("answer to malformed request %d", i)] = sendRaw(t, s, raw)
	}
	for _, c := range canaries {
		seen := 0
		for _, a := range o.Arrivals() {
			if c.seen(a) {
				seen++
			}
		}
		if seen < 5 {
			t.Errorf("control: the origin has seen %s %d times", c.name, seen)
		}
	}
	for _, a := range o.Arrivals() {
		if a.ServerName == "wrong.example.com" {
			t.Errorf("a request arrived under a name that the certificate does not have: %s", a.Path)
		}
	}

	for i, id := range ids {
		places[fmt.Sprintf("why %d", i)] = w.operate(t, h, http.MethodGet, "/v1/refusals/"+id, "")
	}
	for _, path := range []string{"/v1/clusters", "/v1/clusters/east", "/v1/credentials", "/v1/objects", "/v1/status", "/v1/version"} {
		places["admin "+path] = w.operate(t, h, http.MethodGet, path, "")
	}
	manifests, err := json.Marshal(admin.Manifests{Items: []admin.Manifest{{Source: "all.yaml", Data: catalog.String()}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v1/objects/diff", "/v1/objects/validate", "/v1/objects/apply"} {
		places["admin "+path] = w.operate(t, h, http.MethodPost, path, string(manifests))
	}
	for _, c := range canaries {
		places["object "+c.name] = w.operate(t, h, http.MethodGet, "/v1/objects/Credential/ai/"+c.name, "")
		places["explain "+c.name] = w.operate(t, h, http.MethodPost, "/v1/explain",
			fmt.Sprintf(`{"cluster":"east","namespace":"team-a","serviceAccount":"bot","url":"http://to-%s/"}`, c.name))
	}
	_, places["metrics of the hub"] = w.fetch(t, h.metrics)
	_, places["metrics of the spoke"] = w.fetch(t, s.metrics)
	h.admin.Close()
	s.stop()
	s.wait(t)
	h.stop()
	h.wait(t) // so that every queue is written
	places["log of the hub"], places["access log of the hub"] = h.log.String(), h.access.String()
	places["log of the spoke"], places["access log of the spoke"] = s.log.String(), s.access.String()
	files := 0
	err = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		places["file "+path] = string(data)
		files++
		return err
	})
	if err != nil || files < 8 {
		t.Fatalf("%d files, %v", files, err)
	}

	for where, text := range places {
		for _, c := range canaries {
			if form := holds(text, c.value); form != "" {
				t.Errorf("%s holds the value of %s, %s", where, c.name, form)
			}
		}
	}
	// Control of the search: what is no secret is found in each kind of place.
	for _, where := range []string{
		"log of the hub", "access log of the hub", "access log of the spoke", "metrics of the hub", "admin /v1/credentials", "admin /v1/objects", "object bearer", "explain bearer",
	} {
		if !strings.Contains(places[where], "bearer") {
			t.Errorf("control: %s does not name the credential or its backend: %.300s", where, places[where])
		}
	}
	for _, reason := range []string{"tls-certificate", "connection-refused", "protocol-error", "not-granted"} {
		if !strings.Contains(places["access log of the hub"], reason) {
			t.Errorf("control: nothing failed with %s", reason)
		}
	}
	if !inEtcd(places, "to-bearer") {
		t.Error("control: the catalog's files do not name a Backend")
	}
}

// holds reports in which form a text holds a value: as it is, or in an encoding that a log or a store would use.
func holds(text, value string) string {
	_, password, _ := strings.Cut(value, ":")
	forms := map[string]string{
		"as it is": value, "in base64": base64.StdEncoding.EncodeToString([]byte(value)), "in hex": hex.EncodeToString([]byte(value)),
		"escaped for a query": url.QueryEscape(value), "escaped for a path": strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), "as its password": password,
	}
	for name, form := range forms {
		if form != "" && bytes.Contains([]byte(text), []byte(form)) {
			return name
		}
	}
	return ""
}

func inEtcd(places map[string]string, word string) bool {
	for where, text := range places {
		if strings.Contains(where, "/state/etcd/") && strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// operate calls the admin API without the client's types, so that nothing of an answer is left out.
func (w *world) operate(t *testing.T, h *hubProc, method, path, body string) string {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://hub"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(res.StatusCode, res.Header, string(data))
}

// sendRaw writes bytes to a spoke and returns all that comes back.
func sendRaw(t *testing.T, s *spokeProc, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	return fmt.Sprint(string(answer), err)
}

// closedPort is a port of loopback where nobody listens: it was just given back, and the system does not hand out the same
// one again soon.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int(l.Addr().(*net.TCPAddr).AddrPort().Port())
}
