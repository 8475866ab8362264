package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"net/http"
	"strings"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/tunnel"
)

// tokenHash is a Token, decoded.
type tokenHash struct {
	actor Actor
	hash  [sha256.Size]byte
}

type actorKey struct{}

// actorOf is who calls; without a role, where nobody was let in.
func actorOf(ctx context.Context) Actor {
	actor, _ := ctx.Value(actorKey{}).(Actor)
	return actor
}

func withActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// trustSocket is for the socket: the file's mode has decided who may call. ServeSocket has put the peer's user into the
// context.
func (s *Server) trustSocket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if actorOf(r.Context()).Role == "" {
			r = r.WithContext(withActor(r.Context(), Actor{Name: "socket", Role: PlatformAdmin}))
		}
		next.ServeHTTP(w, r)
	})
}

// authenticate is for TLS: a certificate or a token, or 401 before anything of the request is read.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, why := s.caller(r)
		if actor.Role == "" {
			s.log.Warn("admin caller refused", "source", r.RemoteAddr, "reason", why, "method", r.Method, "path", r.URL.Path)
			e := admin.Errorf(http.StatusUnauthorized, "%s", why)
			e.Remedy = "send a token of admin.tokens as Authorization: Bearer, or a client certificate of admin.clientCAFile that admin.clients names"
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, e.Status, e)
			return
		}
		next.ServeHTTP(w, r.WithContext(withActor(r.Context(), actor)))
	})
}

// caller is who calls, or why nobody we know. A token that is sent must be good, whatever certificate comes with it.
func (s *Server) caller(r *http.Request) (actor Actor, why string) {
	switch fields := r.Header.Values("Authorization"); {
	case len(fields) > 1:
		return Actor{}, "there is more than one Authorization header"
	case len(fields) == 1:
		scheme, token, ok := strings.Cut(fields[0], " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			return Actor{}, "the Authorization header is not a bearer token"
		}
		actor, ok := s.bearer(strings.TrimSpace(token))
		if !ok {
			return Actor{}, "the token is not known"
		}
		return actor, ""
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Actor{}, "there is neither a token nor a client certificate"
	}
	leaf := r.TLS.VerifiedChains[0][0]
	if isGateway(leaf) {
		return Actor{}, "the certificate is that of a gateway"
	}
	for _, uri := range leaf.URIs {
		if actor, ok := s.clients[uri.String()]; ok {
			return actor, ""
		}
	}
	if actor, ok := s.clients[leaf.Subject.CommonName]; ok && leaf.Subject.CommonName != "" {
		return actor, ""
	}
	return Actor{}, "the certificate of " + leaf.Subject.String() + " is not known"
}

// bearer looks a token up in a time that depends only on the number of tokens: all are compared, by their hashes.
func (s *Server) bearer(token string) (actor Actor, ok bool) {
	hash := sha256.Sum256([]byte(token))
	found := -1
	for i, t := range s.tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], t.hash[:]), i, found)
	}
	if found < 0 {
		return Actor{}, false
	}
	return s.tokens[found].actor, true
}

// isGateway reports whether a certificate is for tunnels: somebody may have configured the hub's own CA as client CA.
func isGateway(leaf *x509.Certificate) bool {
	for _, uri := range leaf.URIs {
		if _, err := tunnel.ParseID(uri.String()); err == nil {
			return true
		}
	}
	return false
}
