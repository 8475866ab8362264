package tunnel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock.dev/penstock/tunnel"
)

// load is requests in flight all the time, repeated on proofs only, as the gateway does.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	good   int
	failed []error
}

const connectTries = 3 // C of HOPS-AND-RETRIES

// startLoad keeps workers busy, each with a pause between its requests.
func startLoad(t *testing.T, c http.RoundTripper, workers int, pause time.Duration) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel}
	for i := range workers {
		l.wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				err := repeat(t.Context(), c, fmt.Sprintf("/%d/%d", i, n))
				l.mu.Lock()
				if err == nil {
					l.good++
				} else {
					l.failed = append(l.failed, err)
				}
				l.mu.Unlock()
				time.Sleep(pause)
			}
		})
	}
	t.Cleanup(func() { cancel(); l.wg.Wait() })
	return l
}

// stop ends the load and fails the test for every request that failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.wg.Wait()
	for _, err := range l.failed {
		t.Errorf("a request failed: %v", err)
	}
	if l.good == 0 {
		t.Error("no request was made at all")
	}
	t.Logf("%d requests", l.good)
}

// repeat POSTs, and again on a proof.
func repeat(ctx context.Context, c http.RoundTripper, path string) error {
	var tries tunnel.Tries
	ctx = tunnel.WithTries(ctx, &tries)
	for try := 1; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api.test"+path, strings.NewReader("content"))
		if err != nil {
			return err
		}
		res, err := c.RoundTrip(req)
		if err == nil {
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && string(body) != "content" {
				err = fmt.Errorf("answer %q", body)
			}
			return err
		}
		var proof interface{ Unprocessed() bool }
		if !errors.As(err, &proof) || !proof.Unprocessed() || try == connectTries {
			return err
		}
		time.Sleep([]time.Duration{10, 50}[try-1] * time.Millisecond)
	}
}
