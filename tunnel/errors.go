package tunnel

import (
	"context"
	"errors"
	"io"

	"github.com/quic-go/quic-go"

	"penstock.dev/penstock/tunnel/bhttp"
)

// What an Error wraps; test with errors.Is.
var (
	ErrNoTunnel    = errors.New("no tunnel is up")                                     // P1, row 1
	ErrNoOther     = errors.New("no other hub")                                        // P1, row 8
	ErrCertificate = errors.New("the hub's certificate is not good")                   // P1, row 2
	ErrRefused     = errors.New("our certificate was refused")                         // P1, row 3
	ErrStreamLimit = errors.New("no free stream")                                      // P1, row 4
	ErrNotWritten  = errors.New("nothing was written")                                 // P4, row 5
	ErrRejected    = errors.New("rejected before it started")                          // P2, row 6
	ErrEnded       = errors.New("the hub ended the stream before reading")             // P2, row 6
	ErrPeerLost    = errors.New("the tunnel died; the request may have been executed") // row 9
	ErrCancelled   = errors.New("the hub cancelled the exchange")                      // no proof
	ErrMalformed   = errors.New("the hub's answer is malformed")                       // no proof
)

// The proofs of HOPS-AND-RETRIES B.1 that a tunnel can give.
const (
	ProofNoStream   = "P1" // no stream was opened
	ProofRejected   = "P2" // `rejected` or FIN before any response byte
	ProofNotWritten = "P4" // a stream, but zero bytes of the head handed to the transport
)

// Error is a failed exchange. Unprocessed is true only on a proof (HOPS-AND-RETRIES B.1). What is neither of the
// sentinels nor a proof is the caller's own doing: its context ended (errors.Is context.Canceled or
// context.DeadlineExceeded), its body failed, its request cannot be written.
type Error struct {
	Hub string // name of the hub, if one was chosen
	Err error  // wraps one of the sentinels above
	// Proof is "P1", "P2", "P4" or "".
	Proof string
}

func (e *Error) Error() string {
	if e.Hub == "" {
		return "tunnel: " + e.Err.Error()
	}
	return "tunnel: hub " + e.Hub + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Unprocessed reports whether nothing of the request was or will be processed.
func (e *Error) Unprocessed() bool { return e.Proof != "" }

// failure is what classify knows about a failed exchange.
type failure struct {
	// written counts the bytes of this exchange, not of the stream, that the transport took.
	written int
	// answered: a byte of the response has arrived.
	answered bool
	// err of the write when nothing was written, else of the read.
	err error
}

// classify is rows 5, 6, 9 and 10: what a failure of a leased stream proves. Whatever is not proven is ambiguous.
func classify(f failure) (sentinel error, proof string) {
	if f.written == 0 {
		return ErrNotWritten, ProofNotWritten
	}
	var reset *quic.StreamError
	var malformed *bhttp.Error
	switch {
	case errors.As(f.err, &reset) && reset.Remote:
		if reset.ErrorCode == codeRejected && !f.answered {
			return ErrRejected, ProofRejected
		}
		return ErrCancelled, ""
	case f.err == io.EOF && !f.answered:
		// Only a FIN reads as io.EOF; the end of a connection never does.
		return ErrEnded, ProofRejected
	case errors.Is(f.err, io.EOF), errors.Is(f.err, io.ErrUnexpectedEOF), errors.As(f.err, &malformed):
		return ErrMalformed, ""
	}
	return ErrPeerLost, ""
}

// Alerts by which a TLS peer says that it does not accept a certificate (RFC 8446 §6.2), as QUIC carries them
// (RFC 9001 §4.8).
const (
	cryptoErrors        quic.TransportErrorCode = 0x100
	alertBadCertificate quic.TransportErrorCode = 42
	alertUnknownCA      quic.TransportErrorCode = 48
	alertAccessDenied   quic.TransportErrorCode = 49
	alertCertRequired   quic.TransportErrorCode = 116
)

// classifyDial is rows 1 to 3: why a connection did not open. All of it is P1.
func classifyDial(err error) error {
	if errors.Is(err, ErrRefused) {
		return ErrRefused
	}
	var ours *certificateError
	var theirs *quic.TransportError
	var closed *quic.ApplicationError
	switch {
	case errors.As(err, &ours):
		return ErrCertificate
	case errors.As(err, &theirs) && theirs.Remote && theirs.ErrorCode > cryptoErrors:
		switch alert := theirs.ErrorCode - cryptoErrors; {
		case alert >= alertBadCertificate && alert <= alertAccessDenied, alert == alertCertRequired:
			return ErrRefused
		}
	case errors.As(err, &closed) && closed.Remote && closed.ErrorCode == closeCut:
		return ErrRefused
	}
	return ErrNoTunnel
}

// ended reports whether the caller's context ended, and why.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
