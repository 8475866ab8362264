package h1

import "testing"

func TestWebSocketAccept(t *testing.T) {
	// The example of RFC 6455 §1.3.
	if got, want := WebSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
