// Package tunnel carries HTTP exchanges between gateways over leased mTLS QUIC streams (ALPN penstock/1).
package tunnel
