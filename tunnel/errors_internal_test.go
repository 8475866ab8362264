package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

func TestClassify(t *testing.T) {
	reset := func(code quic.StreamErrorCode) error {
		return &quic.StreamError{ErrorCode: code, Remote: true}
	}
	for _, tc := range []struct {
		name     string
		failure  failure
		sentinel error
		proof    string
	}{
		{"a dead connection before a byte was taken is P4", failure{0, false, &quic.IdleTimeoutError{}}, ErrNotWritten, ProofNotWritten},
		{"rejected before any response byte is P2", failure{1, false, reset(codeRejected)}, ErrRejected, ProofRejected},
		{"rejected after a response byte proves nothing", failure{1, true, reset(codeRejected)}, ErrCancelled, ""},
		{"FIN before any response byte is P2", failure{1, false, io.EOF}, ErrEnded, ProofRejected},
		{"FIN after a response byte proves nothing", failure{1, true, io.EOF}, ErrMalformed, ""},
		{"FIN within the head proves nothing", failure{1, true, io.ErrUnexpectedEOF}, ErrMalformed, ""},
		{"cancelled proves nothing", failure{1, false, reset(codeCancelled)}, ErrCancelled, ""},
		{"no-error proves nothing", failure{1, false, reset(codeNoError)}, ErrCancelled, ""},
		{"an unknown code proves nothing", failure{1, false, reset(77)}, ErrCancelled, ""},
		{
			"our own reset proves nothing, whatever its code",
			failure{1, false, &quic.StreamError{ErrorCode: codeRejected}},
			ErrPeerLost, "",
		},
		{"idle timeout after the head proves nothing", failure{1, false, &quic.IdleTimeoutError{}}, ErrPeerLost, ""},
		{
			"a close after the head proves nothing",
			failure{1, false, &quic.ApplicationError{Remote: true, ErrorCode: closeDone}},
			ErrPeerLost, "",
		},
		{"stateless reset proves nothing", failure{1, false, &quic.StatelessResetError{}}, ErrPeerLost, ""},
		{"a malformed answer proves nothing", failure{1, true, &bhttp.Error{}}, ErrMalformed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sentinel, proof := classify(tc.failure)
			if sentinel != tc.sentinel || proof != tc.proof {
				t.Errorf("classify = %v, %q, want %v, %q", sentinel, proof, tc.sentinel, tc.proof)
			}
			e := &Error{Err: sentinel, Proof: proof}
			if e.Unprocessed() != (tc.proof != "") {
				t.Errorf("Unprocessed = %v with proof %q", e.Unprocessed(), proof)
			}
		})
	}
}

func TestClassifyDial(t *testing.T) {
	alert := func(remote bool, n quic.TransportErrorCode) error {
		return fmt.Errorf("dial: %w", &quic.TransportError{Remote: remote, ErrorCode: 0x100 + n})
	}
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"our check refused the hub's certificate", &certificateError{io.EOF}, ErrCertificate},
		{"the hub sent bad_certificate", alert(true, 42), ErrRefused},
		{"the hub sent unknown_ca", alert(true, 48), ErrRefused},
		{"the hub sent certificate_required", alert(true, 116), ErrRefused},
		{"the hub speaks another protocol", alert(true, 120), ErrNoTunnel},
		{"an alert of ours", alert(false, 42), ErrNoTunnel},
		{"the hub cut us", &quic.ApplicationError{Remote: true, ErrorCode: closeCut}, ErrRefused},
		{"the hub drains", &quic.ApplicationError{Remote: true, ErrorCode: closeDraining}, ErrNoTunnel},
		{"the hub refused the connection", &quic.TransportError{Remote: true, ErrorCode: quic.ConnectionRefused}, ErrNoTunnel},
		{"nobody answered", &quic.HandshakeTimeoutError{}, ErrNoTunnel},
		{"time is up", context.DeadlineExceeded, ErrNoTunnel},
	} {
		if got := classifyDial(tc.err); got != tc.want {
			t.Errorf("%s: classifyDial = %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Hub: "hub-eu", Err: fmt.Errorf("%w: %w", ErrPeerLost, io.EOF)}
	if got, want := e.Error(), "tunnel: hub hub-eu: the tunnel died; the request may have been executed: EOF"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if !errors.Is(e, ErrPeerLost) || !errors.Is(e, io.EOF) {
		t.Error("the sentinel or the cause was dropped")
	}
}

func TestBackoff(t *testing.T) {
	want := []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 5000, 5000}
	for failures, ms := range want {
		if got := backoff(failures, 0.5); got != ms*time.Millisecond/2 {
			t.Errorf("backoff(%d, 0.5) = %v, want half of %d ms", failures, got, ms)
		}
	}
	if got := backoff(1<<20, 0.999); got > backoffMax {
		t.Errorf("backoff after very many failures = %v, above the ceiling", got)
	}
}

// TestConnectionFields holds our list to the codec's.
func TestConnectionFields(t *testing.T) {
	for _, name := range []string{
		"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te", "trailer", "host", "via", "cookie",
	} {
		ours := slices.Contains(connectionFields, http.CanonicalHeaderKey(name))
		if ours != bhttp.ConnectionField(name) {
			t.Errorf("%s: dropped = %v, refused by the codec = %v", name, ours, bhttp.ConnectionField(name))
		}
	}
}

func TestEndToEnd(t *testing.T) {
	src := http.Header{
		"Accept": {"a", "b"}, "Connection": {"Penstock-Path, close"}, "Penstock-Path": {`"sp"`},
		"Upgrade": {"websocket"}, "Te": {"gzip, trailers;q=1", "trailers"}, "Keep-Alive": {"timeout=5"},
	}
	dst := make(http.Header)
	endToEnd(dst, src)
	if dst.Get("Accept") != "a" || dst.Get("Penstock-Path") == "" {
		t.Errorf("kept %v, want Accept and the nominated tag", dst)
	}
	if te := dst["Te"]; !slices.Equal(te, []string{"trailers"}) {
		t.Errorf("TE = %v, want trailers", te)
	}
	if len(dst) != 3 || len(src) != 6 {
		t.Errorf("dst = %v, src = %v: want three fields, and src unchanged", dst, src)
	}
}

func TestUpgradeNeedsBothFields(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    http.Header
		want string
	}{
		{"both", http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}, "websocket"},
		{"not nominated", http.Header{"Upgrade": {"websocket"}}, ""},
		{"nothing to upgrade to", http.Header{"Connection": {"Upgrade"}}, ""},
	} {
		if got := upgrade(tc.h); got != tc.want {
			t.Errorf("%s: upgrade = %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestHalfOpen: a handshake counts until it has ended, one way or the other. // F-50
func TestHalfOpen(t *testing.T) {
	var h halfOpen
	var opened context.Context
	for range manyHalfOpen + 1 {
		if h.crowded(nil) {
			t.Fatal("sources must prove their address too early")
		}
		opened = h.begin(t.Context())
	}
	ctx, fail := context.WithCancel(t.Context())
	failed := h.begin(ctx)
	if !h.crowded(nil) {
		t.Errorf("%d handshakes and no proof of address wanted", h.n.Load())
	}
	h.opened(opened)
	h.opened(opened)
	fail()
	<-failed.Done()
	for h.n.Load() != manyHalfOpen {
		runtime.Gosched()
	}
	if h.crowded(nil) {
		t.Error("sources must prove their address with few handshakes left")
	}
}
