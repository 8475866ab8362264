package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"penstock.dev/penstock/apis/control"
	"penstock.dev/penstock/hub/catalog"
)

// Lives of a join token.
const (
	defaultTTL = 15 * time.Minute
	maxTTL     = 24 * time.Hour
)

// token is a new join token; its text goes into the bundle and nowhere else.
type token struct {
	text   string
	record tokenRecord
}

// newToken draws at least 128 bits. The prefix lets secret scanners find a token that was committed somewhere.
func newToken(cluster string, epoch int64, now time.Time, ttl time.Duration) token {
	return token{"pjt_" + rand.Text(), tokenRecord{Cluster: cluster, Created: now, Expires: now.Add(ttl), Epoch: epoch}}
}

// tokenKey is where a token's record is. Only the hash is stored; and since it is the hash that is looked up, how long
// the look-up takes says nothing about a token.
func tokenKey(text string) string {
	sum := sha256.Sum256([]byte(text))
	return catalog.TokenKey(hex.EncodeToString(sum[:]))
}

func (t token) op() catalog.Op {
	return catalog.Op{Key: tokenKey(t.text), Value: encode(t.record), If: catalog.Absent}
}

func checkTTL(ttl time.Duration) (time.Duration, error) {
	switch {
	case ttl == 0:
		return defaultTTL, nil
	case ttl < time.Second || ttl > maxTTL:
		return 0, refuse(BadRequest, fmt.Sprintf("a token life of %s is not between 1s and 24h", ttl), "leave it out for 15m")
	}
	return ttl, nil
}

func (r *Registry) bundle(cluster string, t token) control.Bundle {
	return control.Bundle{
		APIVersion:  control.BundleVersion,
		Cluster:     cluster,
		Token:       t.text,
		Join:        r.cfg.JoinAddresses(),
		CAPin:       r.Pin(),
		TrustDomain: r.cfg.TrustDomain,
		Expires:     t.record.Expires,
	}
}

// pendingTokens is, for each cluster, its unredeemed token that lives longest.
func (r *Registry) pendingTokens(ctx context.Context) (map[string]tokenRecord, error) {
	recs, _, err := r.cfg.Catalog.List(ctx, catalog.TokensPrefix)
	if err != nil {
		return nil, stored("list the join tokens", err)
	}
	now := time.Now()
	tokens := map[string]tokenRecord{}
	for _, rec := range recs {
		t, err := decode[tokenRecord](rec)
		if err != nil || !t.Used.IsZero() || !t.Expires.After(now) {
			continue
		}
		if old, ok := tokens[t.Cluster]; !ok || t.Epoch > old.Epoch || t.Epoch == old.Epoch && t.Expires.After(old.Expires) {
			tokens[t.Cluster] = t
		}
	}
	return tokens, nil
}
