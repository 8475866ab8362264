package demo

import (
	"net"
	"strings"
	"testing"

	"penstock.dev/penstock/manifest"
)

func TestAnAddressThatIsTakenIsSaidBeforeAnythingStarts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String() + "/readyz"
	if err := unused(t.Context(), address); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("taken: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unused(t.Context(), address); err != nil {
		t.Errorf("free: %v", err)
	}
}

func TestTheProvidersCAIsAConfigMap(t *testing.T) {
	pem := "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	objects, problems := manifest.Parse("provider-ca.yaml", configMap("ai", []byte(pem)))
	if len(objects) != 1 || len(problems) > 0 || objects[0].ID.Key() != "ai/provider-ca" {
		t.Fatalf("%v, %v", objects, problems)
	}
	if !strings.Contains(string(objects[0].JSON), `-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n`) {
		t.Errorf("%s", objects[0].JSON)
	}
}
