package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	configv1alpha1 "penstock.dev/penstock/apis/config/v1alpha1"
	"penstock.dev/penstock/hub/catalog"
	"penstock.dev/penstock/hub/catalog/embedded"
	"penstock.dev/penstock/hub/catalog/etcd"
)

// backing is the store behind the catalog: an etcd in this process, or a client of one elsewhere.
type backing struct {
	kind    string // embedded or etcd, for status
	catalog catalog.Catalog
	server  *embedded.Server // nil with an external etcd
	client  io.Closer        // nil with the embedded one
}

func openBacking(ctx context.Context, cfg configv1alpha1.HubConfig, log *slog.Logger) (*backing, error) {
	if len(cfg.Catalog.Endpoints) > 0 {
		client, err := etcd.Dial(etcd.Config{
			Endpoints: cfg.Catalog.Endpoints, CAFile: cfg.Catalog.CAFile, CertFile: cfg.Catalog.CertFile,
			KeyFile: cfg.Catalog.KeyFile, Log: log,
		})
		if err != nil {
			return nil, fmt.Errorf("hub: catalog: %w", err)
		}
		return &backing{kind: "etcd", catalog: etcd.New(client, cfg.Catalog.Prefix, log), client: client}, nil
	}
	server, err := embedded.Start(ctx, embedded.Config{
		Dir: filepath.Join(cfg.StateDir, "etcd"), ListenClient: cfg.Catalog.Embedded.ListenClient, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("hub: embedded catalog: %w", err)
	}
	return &backing{kind: "embedded", catalog: etcd.New(server.Client(), cfg.Catalog.Prefix, log), server: server}, nil
}

// run ends with an error when the embedded server fails.
func (b *backing) run(ctx context.Context) error {
	if b.server == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-b.server.Done():
		return fmt.Errorf("hub: the embedded catalog failed: %w", b.server.Err())
	}
}

func (b *backing) close() error {
	if b.server != nil {
		return b.server.Close()
	}
	if err := b.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
