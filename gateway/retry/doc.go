// Package retry answers one question: may this be tried again? Nobody else writes a retry loop around a request.
package retry
