package registry

import (
	"context"
	"errors"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

// keepSpent is how long a token that is spent or expired is remembered, to be named so when it is used again.
const keepSpent = 24 * time.Hour

// sweepBatch keeps a commit below etcd's limit of 128 operations.
const sweepBatch = 100

// sweep deletes records that can never matter again: tokens a day after their end, serials at the end of their
// certificate, instances when even recovery is over.
func (r *Registry) sweep(ctx context.Context) error {
	now := time.Now()
	return errors.Join(
		sweep(ctx, r.cfg.Catalog, catalog.TokensPrefix, func(t tokenRecord) bool { return now.After(t.Expires.Add(keepSpent)) }),
		sweep(ctx, r.cfg.Catalog, catalog.SerialsPrefix, func(s serialRecord) bool { return now.After(s.NotAfter) }),
		sweep(ctx, r.cfg.Catalog, catalog.InstancesPrefix, func(i instanceRecord) bool {
			return now.After(i.NotAfter.Add(r.cfg.RecoverWindow)) && now.After(i.Floor)
		}),
	)
}

func sweep[T any](ctx context.Context, cat catalog.Catalog, prefix string, over func(T) bool) error {
	recs, _, err := cat.List(ctx, prefix)
	if err != nil {
		return stored("list "+prefix, err)
	}
	var ops []catalog.Op
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, err := cat.Commit(ctx, ops...)
		ops = ops[:0]
		if errors.Is(err, catalog.ErrConflict) {
			return nil // one of them was used just now: next time
		}
		return err
	}
	for _, rec := range recs {
		// What cannot be read is left alone: a newer release may have written it.
		if v, err := decode[T](rec); err != nil || !over(v) {
			continue
		}
		ops = append(ops, catalog.Op{Key: rec.Key, Delete: true, If: rec.Revision})
		if len(ops) == sweepBatch {
			if err := flush(); err != nil {
				return stored("sweep "+prefix, err)
			}
		}
	}
	if err := flush(); err != nil {
		return stored("sweep "+prefix, err)
	}
	return nil
}
