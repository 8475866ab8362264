package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"penstock.dev/penstock/hub/catalog"
)

// call is one call to etcd under its own deadline.
type call struct {
	parent context.Context
	cancel context.CancelFunc
}

func begin(parent context.Context) (context.Context, call) {
	ctx, cancel := context.WithTimeout(parent, callTimeout)
	return ctx, call{parent: parent, cancel: cancel}
}

// explain wraps an error of etcd in that of package catalog which callers test for. If the caller's own context is done
// it is that error: the store is not to blame.
func (c call) explain(doing string, err error) error {
	if cause := c.parent.Err(); cause != nil {
		return fmt.Errorf("catalog: %s: %w", doing, cause)
	}
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return fmt.Errorf("%w: %s: %w", catalog.ErrLeaseLost, doing, err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: %s: etcd is over its space quota and takes no writes; compact and defragment it, then disarm the alarm: %w",
			catalog.ErrUnavailable, doing, err)
	case errors.Is(err, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: %s: the listing took longer than etcd keeps its history; try again: %w", catalog.ErrUnavailable, doing, err)
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty),
		errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrInvalidAuthToken):
		return fmt.Errorf("%w: %s: etcd refuses this hub; give its certificate's user a role on the prefix: %w",
			catalog.ErrUnavailable, doing, err)
	case isAway(err):
		return fmt.Errorf("%w: %s: etcd did not answer; check that a quorum of its members runs and can be reached: %w",
			catalog.ErrUnavailable, doing, err)
	}
	return fmt.Errorf("catalog: %s: %w", doing, err)
}

// isAway reports that nobody answered, or that who answered has no quorum or is shutting down.
func isAway(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var e rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &e) {
		code = e.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.ResourceExhausted, codes.Aborted, codes.Internal:
		return true
	}
	return false
}

func (c *Catalog) record(kv *mvccpb.KeyValue) catalog.Record {
	return catalog.Record{Key: string(kv.Key[len(c.prefix):]), Value: kv.Value, Revision: kv.ModRevision}
}
