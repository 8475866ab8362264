package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"penstock.dev/penstock/apis/admin"
	"penstock.dev/penstock/apis/control"
)

func (a *app) registerCommand() *cobra.Command {
	var (
		req  admin.RegisterRequest
		ttl  time.Duration
		dest bundleDest
	)
	cmd := &cobra.Command{
		Use:   "register NAME",
		Short: "Register a cluster and print the bundle that its first gateway joins with",
		Long: `Register a cluster and print the bundle that its first gateway joins with: parent.bundle of the spoke's configuration.

The bundle holds a token that works once and not for long. It is a secret until it is used: prefer --out, which writes a
file that only you can read, or --secret, which prints a Secret for kubectl apply -f -.`,
		Example: `  penstock cluster register east --labels region=eu --out east.json
  penstock cluster register east --secret penstock-system/join | kubectl --context east apply -f -`,
		Args: exactly("NAME"), Annotations: offers(formatTable, formatJSON),
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			seconds, err := ttlSeconds(ttl)
			if err != nil {
				return err
			}
			if req.Role != admin.RoleSpoke && req.Role != admin.RoleHub {
				return usagef("role %q does not exist; use %s or %s", req.Role, admin.RoleSpoke, admin.RoleHub)
			}
			req.Name, req.TTLSeconds = args[0], seconds
			return dest.write(cmd, "registered", func() (control.Bundle, error) { return c.RegisterCluster(ctx, req) })
		}),
	}
	f := cmd.Flags()
	f.StringToStringVar(&req.Labels, "labels", nil, "labels of the cluster, for grants: region=eu,tier=prod")
	f.StringVar(&req.Role, "role", admin.RoleSpoke, "spoke, or hub for a hub that has this one as its parent")
	f.DurationVar(&ttl, "ttl", 15*time.Minute, "how long the token may be redeemed")
	dest.flags(cmd)
	return cmd
}

func (a *app) recoverCommand() *cobra.Command {
	var (
		ttl  time.Duration
		dest bundleDest
	)
	cmd := &cobra.Command{
		Use:   "recover NAME",
		Short: "Print a new bundle for a cluster whose certificates ended, were lost or were revoked",
		Args:  exactly("NAME"), ValidArgsFunction: a.completeClusters, Annotations: offers(formatTable, formatJSON),
		RunE: a.hub(func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error {
			seconds, err := ttlSeconds(ttl)
			if err != nil {
				return err
			}
			return dest.write(cmd, "recovered", func() (control.Bundle, error) {
				return c.RecoverCluster(ctx, args[0], admin.RecoverRequest{TTLSeconds: seconds})
			})
		}),
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 15*time.Minute, "how long the token may be redeemed")
	dest.flags(cmd)
	return cmd
}

func ttlSeconds(ttl time.Duration) (int64, error) {
	if ttl < time.Second {
		return 0, usagef("--ttl %s is shorter than a second", ttl)
	}
	return int64(ttl / time.Second), nil
}

// bundleDest is where a bundle goes.
type bundleDest struct {
	file   string
	secret string
}

func (d *bundleDest) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.file, "out", "", "write to this file, readable by you alone (default: standard output)")
	cmd.Flags().StringVar(&d.secret, "secret", "", "write as a Kubernetes Secret NAMESPACE/NAME with the key join.json")
}

// write fetches the bundle and writes it. The place is made first: a token that cannot be written down would be lost.
func (d *bundleDest) write(cmd *cobra.Command, done string, fetch func() (control.Bundle, error)) error {
	namespace, name, ok := strings.Cut(d.secret, "/")
	if d.secret != "" && (!ok || namespace == "" || name == "") {
		return usagef("--secret %q is not NAMESPACE/NAME", d.secret)
	}
	place, err := d.open(cmd)
	if err != nil {
		return fmt.Errorf("write the bundle: %w; nothing was sent", err)
	}
	defer place.discard()
	bundle, err := fetch()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(bundle, "", "  ")
	if err != nil {
		return fmt.Errorf("print the bundle: %w", err)
	}
	data = append(data, '\n')
	if d.secret != "" {
		if data, err = bundleSecret(namespace, name, data); err != nil {
			return err
		}
	}
	if err := place.write(data); err != nil {
		return fmt.Errorf("write the bundle: %w; its token is lost, make a new one with cluster recover %s", err, bundle.Cluster)
	}
	empty(cmd, "cluster %s %s; the token works once, until %s", bundle.Cluster, done, moment(bundle.Expires))
	return nil
}

// place is where a bundle is written: a stream, or a temporary file that becomes a file.
type place struct {
	out  io.Writer
	temp *os.File // nil with a stream
	name string   // of the file
}

func (d *bundleDest) open(cmd *cobra.Command) (*place, error) {
	if d.file == "" {
		return &place{out: cmd.OutOrStdout()}, nil
	}
	// os.CreateTemp makes the file 0600.
	temp, err := os.CreateTemp(filepath.Dir(d.file), ".penstock-*")
	if err != nil {
		return nil, err
	}
	return &place{out: temp, temp: temp, name: d.file}, nil
}

// write writes everything and gives the file its name.
func (p *place) write(data []byte) error {
	if _, err := p.out.Write(data); err != nil || p.temp == nil {
		return err
	}
	if err := p.temp.Close(); err != nil {
		return err
	}
	return os.Rename(p.temp.Name(), p.name)
}

// discard removes what write did not finish; after write it does nothing.
func (p *place) discard() {
	if p.temp != nil {
		// After write both fail, and that is fine.
		_ = p.temp.Close()
		_ = os.Remove(p.temp.Name())
	}
}

func bundleSecret(namespace, name string, bundle []byte) ([]byte, error) {
	data, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"namespace": namespace, "name": name},
		"stringData": map[string]any{"join.json": string(bundle)},
	})
	if err != nil {
		return nil, fmt.Errorf("print the Secret: %w", err)
	}
	return data, nil
}
