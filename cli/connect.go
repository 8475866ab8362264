package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"penstock.dev/penstock/apis/admin"
)

// The environment variables behind the flags of the connection. A flag wins over a variable.
const (
	envSocket    = "PENSTOCK_SOCKET"
	envAddress   = "PENSTOCK_ADDRESS"
	envTokenFile = "PENSTOCK_TOKEN_FILE"
	envCAFile    = "PENSTOCK_CA_FILE"
)

// connection is how the hub is reached.
type connection struct {
	socket, address             string
	tokenFile, caFile           string
	certificateFile, privateKey string
	timeout                     time.Duration
}

func (c *connection) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&c.socket, "socket", "", "unix socket of the hub's admin API ($"+envSocket+")")
	f.StringVar(&c.address, "address", "", "host:port of the hub's admin API, over TLS ($"+envAddress+")")
	f.StringVar(&c.tokenFile, "token-file", "", "file with the bearer token for --address ($"+envTokenFile+")")
	f.StringVar(&c.caFile, "ca-file", "", "PEM file with the CA of --address ($"+envCAFile+"; default: the system's)")
	f.StringVar(&c.certificateFile, "cert-file", "", "PEM file with a client certificate for --address")
	f.StringVar(&c.privateKey, "key-file", "", "PEM file with the key of --cert-file")
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait for the hub's answer")
}

// client makes the client that flags and environment describe.
func (c *connection) client() (*admin.Client, error) {
	if c.socket != "" && c.address != "" {
		return nil, usagef("--socket and --address exclude each other")
	}
	cfg := admin.Config{Socket: c.socket, Address: c.address, Timeout: c.timeout}
	// A flag for one way silences the variable for the other one.
	if cfg.Socket == "" && cfg.Address == "" {
		cfg.Socket, cfg.Address = os.Getenv(envSocket), os.Getenv(envAddress)
		if cfg.Socket != "" && cfg.Address != "" {
			return nil, usagef("%s and %s are both set; unset one, or give --socket or --address", envSocket, envAddress)
		}
	}
	if cfg.Socket == "" && cfg.Address == "" {
		return nil, usagef("which hub? give --socket (or %s), the admin.socket of its configuration, or --address", envSocket)
	}
	if cfg.Address != "" {
		cfg.CAFile = orEnv(c.caFile, envCAFile)
		cfg.CertFile, cfg.KeyFile = c.certificateFile, c.privateKey
		if file := orEnv(c.tokenFile, envTokenFile); file != "" {
			token, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("token file: %w", err)
			}
			cfg.Token = admin.Token(bytes.TrimSpace(token))
		}
	}
	client, err := admin.New(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

func orEnv(value, variable string) string {
	if value != "" {
		return value
	}
	return os.Getenv(variable)
}

// hub is a RunE that gets a client.
func (a *app) hub(run func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := a.print.check(cmd); err != nil {
			return err
		}
		client, err := a.conn.client()
		if err != nil {
			return err
		}
		defer client.Close()
		return run(cmd.Context(), client, cmd, args)
	}
}
