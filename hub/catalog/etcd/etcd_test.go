package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"penstock.dev/penstock/hub/catalog"
)

func TestErrorsSayWhatToTestForAndWhatToDo(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want error
		text string
	}{
		{"nobody answers in time", context.DeadlineExceeded, catalog.ErrUnavailable, "quorum"},
		{"nobody is there", status.Error(codes.Unavailable, "connection refused"), catalog.ErrUnavailable, "quorum"},
		{"there is no leader", rpctypes.ErrNoLeader, catalog.ErrUnavailable, "quorum"},
		{"the server stops", rpctypes.ErrStopped, catalog.ErrUnavailable, "quorum"},
		{"the server has too much to do", rpctypes.ErrTooManyRequests, catalog.ErrUnavailable, ""},
		{"the quota is used up", rpctypes.ErrNoSpace, catalog.ErrUnavailable, "defragment"},
		{"the page is compacted away", rpctypes.ErrCompacted, catalog.ErrUnavailable, "try again"},
		{"this hub may not", rpctypes.ErrPermissionDenied, catalog.ErrUnavailable, "role"},
		{"the lease is gone", rpctypes.ErrLeaseNotFound, catalog.ErrLeaseLost, "commit a"},
		{"the request is broken", rpctypes.ErrEmptyKey, rpctypes.ErrEmptyKey, "commit a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, c := begin(t.Context())
			defer c.cancel()
			got := c.explain("commit a", row.err)
			if !errors.Is(got, row.want) || !strings.Contains(got.Error(), row.text) || !strings.Contains(got.Error(), "commit a") {
				t.Errorf("%v, want %v and %q", got, row.want, row.text)
			}
			if row.want == rpctypes.ErrEmptyKey && errors.Is(got, catalog.ErrUnavailable) {
				t.Error("a broken request passes for an outage")
			}
		})
	}
}

func TestACallersOwnContextIsNotAnOutage(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	_, c := begin(parent)
	defer c.cancel()
	cancel()
	err := c.explain("get a", status.Error(codes.Canceled, "context canceled"))
	if !errors.Is(err, context.Canceled) || errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("%v, want context.Canceled alone", err)
	}
}

func TestDialChecksItsConfig(t *testing.T) {
	ca, cert, key := pair(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		cfg  Config
		want string // in the error; empty: none
	}{
		{"https with everything", Config{Endpoints: []string{"https://etcd.example.com:2379", "https://192.0.2.1:2379/"}, CAFile: ca, CertFile: cert, KeyFile: key}, ""},
		{"a socket", Config{Endpoints: []string{"unix:///run/etcd.sock"}}, ""},
		{"http on loopback", Config{Endpoints: []string{"http://127.0.0.1:2379", "http://[::1]:2379"}}, ""},
		{"no endpoint", Config{}, "catalog.endpoints"},
		{"http elsewhere", Config{Endpoints: []string{"http://etcd.example.com:2379"}}, "loopback"},
		{"no scheme", Config{Endpoints: []string{"etcd.example.com:2379"}}, "https://host:port"},
		{"no port", Config{Endpoints: []string{"https://etcd.example.com"}}, "https://host:port"},
		{"a path", Config{Endpoints: []string{"https://etcd.example.com:2379/v3"}}, "https://host:port"},
		{"a relative socket", Config{Endpoints: []string{"unix://etcd.sock"}}, "unix:///path"},
		{"a password", Config{Endpoints: []string{"https://user:canary@etcd.example.com:2379"}}, "client certificate"},
		{"two schemes", Config{Endpoints: []string{"https://etcd.example.com:2379", "unix:///run/e"}}, "one scheme"},
		{"roots without TLS", Config{Endpoints: []string{"unix:///run/e"}, CAFile: ca}, "https"},
		{"roots that are not there", Config{Endpoints: []string{"https://e:2379"}, CAFile: ca + "x"}, ca + "x"},
		{"roots that are none", Config{Endpoints: []string{"https://e:2379"}, CAFile: empty}, "no PEM certificate"},
		{"a certificate without a key", Config{Endpoints: []string{"https://e:2379"}, CertFile: cert}, "both or neither"},
		{"a certificate that is none", Config{Endpoints: []string{"https://e:2379"}, CertFile: empty, KeyFile: key}, "certFile"},
	} {
		t.Run(row.name, func(t *testing.T) {
			client, err := Dial(row.cfg)
			if client != nil {
				_ = client.Close()
			}
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("Dial = %v, want %q", err, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

// A renewed certificate is used for the next connection; half a renewal does no harm.
func TestTheClientCertificateIsReadAgain(t *testing.T) {
	_, cert, key := pair(t)
	p, err := newKeyPair(cert, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := p.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, otherCert, otherKey := pair(t)
	move(t, otherCert, cert)
	if half, err := p.get(nil); err != nil || string(half.Certificate[0]) != string(first.Certificate[0]) {
		t.Errorf("half renewed: %v, want the certificate before", err)
	}
	move(t, otherKey, key)
	if next, err := p.get(nil); err != nil || string(next.Certificate[0]) == string(first.Certificate[0]) {
		t.Errorf("renewed: %v, want the new certificate", err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// pair makes a self-signed certificate.
func pair(t *testing.T) (ca, cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, cert, key
}

func TestPrefixEndsInASlash(t *testing.T) {
	for in, want := range map[string]string{"": DefaultPrefix, "/p": "/p/", "/p/": "/p/"} {
		if got := New(nil, in, nil).prefix; got != want {
			t.Errorf("New(%q) has the prefix %q, want %q", in, got, want)
		}
	}
}
