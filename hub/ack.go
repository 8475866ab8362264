package hub

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"penstock.dev/penstock/hub/catalog"
)

// The acknowledgement of a replica is the record acks/<name>: the revision of the catalog that it serves, in decimal. It
// lives on a lease, so that a replica that died is not waited for.
const (
	ackLease = 10 * time.Second
	// ackTime is how long the writer waits for replicas before it says that they are behind.
	ackTime = 5 * time.Second
	ackPoll = 100 * time.Millisecond
)

// acknowledge keeps this replica's acknowledgement until ctx is done.
func (h *hub) acknowledge(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := h.acknowledgeOnLease(ctx); err != nil && ctx.Err() == nil {
			h.log.Debug("acknowledgement not written; trying again", "error", err)
			pause(ctx, time.Second)
		}
	}
	return nil
}

func (h *hub) acknowledgeOnLease(ctx context.Context) error {
	leased, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	lease, lost, err := h.catalog.Lease(leased, ackLease)
	if err != nil {
		return err
	}
	for {
		if revision := h.servedRevision(); revision > 0 {
			_, err := h.catalog.Commit(ctx, catalog.Op{
				Key: catalog.AckKey(h.cfg.Name), Value: strconv.AppendInt(nil, revision, 10), Lease: lease,
			})
			if err != nil {
				return err
			}
			pause(ctx, ackPoll) // so that a burst is acknowledged as one
		}
		select {
		case <-ctx.Done():
			return nil
		case <-lost:
			return nil
		case <-h.unacknowledged:
		}
	}
}

// servedRevision is the revision up to which everything is served: that of the last translation, or a later one by which
// nothing changed. 0: nothing is served yet.
func (h *hub) servedRevision() int64 {
	s := h.served.Load()
	if s == nil {
		return 0
	}
	if seen := h.seenAt.Load(); h.changedAt.Load() <= s.revision {
		return max(s.revision, seen)
	}
	return s.revision
}

// awaitAcks waits until every live replica serves a revision, and returns those that still do not after ackTime.
func (h *hub) awaitAcks(ctx context.Context, revision int64) (behind []string) {
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	for {
		var err error
		if behind, err = h.behind(ctx, revision); err == nil && len(behind) == 0 {
			return nil
		}
		pause(ctx, ackPoll)
		if ctx.Err() != nil {
			return behind
		}
	}
}

// behind are the advertised replicas that have not acknowledged a revision.
func (h *hub) behind(ctx context.Context, revision int64) (names []string, err error) {
	acked, err := h.acknowledged(ctx)
	if err != nil {
		return nil, err
	}
	for _, hub := range h.registry.Hubs() {
		if acked(hub.Name) < revision {
			names = append(names, hub.Name)
		}
	}
	return names, nil
}

// acknowledged tells the revision that each live replica serves; 0: none yet.
func (h *hub) acknowledged(ctx context.Context) (func(replica string) int64, error) {
	records, _, err := h.catalog.List(ctx, catalog.AcksPrefix)
	if err != nil {
		return nil, err
	}
	acked := map[string]int64{}
	for _, r := range records {
		if n, err := strconv.ParseInt(string(r.Value), 10, 64); err == nil {
			acked[r.Key] = n
		}
	}
	return func(replica string) int64 { return acked[catalog.AckKey(replica)] }, nil
}

// programmedBy says Programmed only when every live replica serves the revision.
func programmedBy(conditions []metav1.Condition, revision int64, behind []string) []metav1.Condition {
	if len(behind) == 0 {
		return conditions
	}
	conditions = slices.Clone(conditions)
	for i := range conditions {
		if c := &conditions[i]; c.Type == string(gwv1.GatewayConditionProgrammed) && c.Status == metav1.ConditionTrue {
			c.Status, c.Reason = metav1.ConditionFalse, string(gwv1.GatewayReasonPending)
			c.Message = fmt.Sprintf("not served yet (revision %d) by %s", revision, strings.Join(behind, ", "))
		}
	}
	return conditions
}
