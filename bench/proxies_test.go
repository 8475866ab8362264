package main

import (
	"crypto/tls"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// serveTLSPart runs a part with its own TLS configuration and returns its address.
func serveTLSPart(t *testing.T, start func() (http.Handler, *tls.Config, error)) string {
	t.Helper()
	handler, config, err := start()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS, s.EnableHTTP2 = config, true
	s.Config.ErrorLog = log.New(t.Output(), "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestThePlainChainDoesWhatIsAskedOfOurs(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificates(dir, upstreamName, hubName, spokeName); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var protocols atomic.Pointer[[2]string]
	upstream := serveTLSPart(t, part{dir: dir}.upstream)
	hub := serveTLSPart(t, func() (http.Handler, *tls.Config, error) {
		h, config, err := part{dir: dir, next: upstream}.proxyHub()
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			protocols.Store(&[2]string{r.Proto, r.TLS.PeerCertificates[0].DNSNames[0]})
			h.ServeHTTP(w, r)
		}), config, err
	})
	spoke, config, err := part{dir: dir, next: hub}.proxySpoke()
	if err != nil || config != nil {
		t.Fatalf("proxySpoke: TLS %v, %v; want plain HTTP", config, err)
	}
	tg := serveTarget(t, spoke)
	tg.authorization = "Bearer of-the-workload" // the upstream refuses it
	if err := ask(t.Context(), tg); err != nil {
		t.Fatal(err)
	}
	if got, want := protocols.Load(), [2]string{"HTTP/2.0", spokeName}; got == nil || *got != want {
		t.Errorf("between the hops: %v, want %v", got, want)
	}
	for _, name := range []string{"", upstreamName} {
		config, err := clientTLS(dir, hubName, name)
		if err != nil {
			t.Fatal(err)
		}
		config.NextProtos = []string{"h2"}
		refused := &target{address: hub, tls: config, host: upstreamName}
		if err := ask(t.Context(), refused); err == nil || strings.HasPrefix(err.Error(), "answer") {
			t.Errorf("the hub let a client in with the certificate of %q: %v", name, err)
		}
	}
	config, err = clientTLS(dir, "other.example", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(t.Context(), &target{address: upstream, tls: config, host: upstreamName}); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("the upstream passed for other.example: %v", err)
	}
}
