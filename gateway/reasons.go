package gateway

import "net/http"

// StatusOf is the status that a refusal for a reason is answered with; 502 for a reason that nobody gives.
func StatusOf(reason string) int {
	if a, ok := answers[reason]; ok {
		return a.status
	}
	return http.StatusBadGateway
}
