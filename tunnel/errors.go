package tunnel

import "errors"

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

// Error is a failed exchange. Unprocessed is true only on a proof (HOPS-AND-RETRIES B.1).
type Error struct {
	Hub string // name of the hub, if one was chosen
	Err error  // wraps one of the sentinels above
	// Proof is "P1", "P2", "P4" or "".
	Proof string
}

func (e *Error) Error() string { panic("todo") }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Unprocessed reports whether nothing of the request was or will be processed.
func (e *Error) Unprocessed() bool { return e.Proof != "" }
