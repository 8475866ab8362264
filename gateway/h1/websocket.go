package h1

import (
	"crypto/sha1" // RFC 6455 says so; it proves understanding, not secrecy
	"encoding/base64"
)

// WebSocketAccept is the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 §4.2.2). HTTP/2 has neither
// (RFC 8441 §5).
func WebSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
