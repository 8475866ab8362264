package tunnel

import (
	"context"
	"slices"
)

// Tries remembers, over the tries of one request, which hubs were used. Not safe for concurrent use.
type Tries struct {
	// Elsewhere: the next try must not use a hub that was tried (P5); with no other, the error is ErrNoOther.
	Elsewhere bool

	hubs []string
}

type triesKey struct{}

// WithTries puts t into ctx.
func WithTries(ctx context.Context, t *Tries) context.Context {
	return context.WithValue(ctx, triesKey{}, t)
}

// triesFrom returns nil if there are none; a nil Tries has tried nothing.
func triesFrom(ctx context.Context) *Tries {
	t, _ := ctx.Value(triesKey{}).(*Tries)
	return t
}

func (t *Tries) tried(hub string) bool { return t != nil && slices.Contains(t.hubs, hub) }

func (t *Tries) elsewhere() bool { return t != nil && t.Elsewhere && len(t.hubs) > 0 }

func (t *Tries) add(hub string) {
	if t != nil && !t.tried(hub) {
		t.hubs = append(t.hubs, hub)
	}
}
