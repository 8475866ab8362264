package tunnel

import "github.com/quic-go/quic-go"

// Stream reset codes; doc.go specifies them. They never change within the ALPN.
const (
	codeNoError   quic.StreamErrorCode = 0 // nobody is at fault: not needed any more
	codeRejected  quic.StreamErrorCode = 1 // P2: the handler has not started and never will
	codeCancelled quic.StreamErrorCode = 2 // no proof
	codeMalformed quic.StreamErrorCode = 3 // the head cannot be read, nor answered
)

// Connection close codes; doc.go specifies them.
const (
	closeDone     quic.ApplicationErrorCode = 0 // the spoke's after its last exchange, the hub's when it ends
	closeCut      quic.ApplicationErrorCode = 1 // the peer is not admitted any more
	closeDraining quic.ApplicationErrorCode = 2 // came in after the drain had begun
	closeUnopened quic.ApplicationErrorCode = 3 // the first control exchange was not answered as it should
)
