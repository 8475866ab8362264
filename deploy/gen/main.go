// Command gen writes deploy/gatewayapi: what is needed to judge Gateway API objects as an API server would, taken from the
// CustomResourceDefinitions (experimental channel, which contains the standard one) of the gateway-api release that go.mod
// names. Descriptions are left out, and status, which nobody writes by hand, is anything. `make generate` runs it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const out = "deploy/gatewayapi"

// kinds that Penstock reads.
var kinds = []string{
	"GatewayClass", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "ReferenceGrant", "BackendTLSPolicy", "XBackend",
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return fmt.Errorf("find sigs.k8s.io/gateway-api: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config/crd/experimental/*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("find the definitions of gateway-api: %d files: %w", len(files), err)
	}
	written := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var crd map[string]any
		if err := yaml.Unmarshal(data, &crd); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		spec, _ := crd["spec"].(map[string]any)
		names, _ := spec["names"].(map[string]any)
		kind, _ := names["kind"].(string)
		if !slices.Contains(kinds, kind) {
			continue
		}
		if err := write(kind, spec, names); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		written++
	}
	if written != len(kinds) {
		return fmt.Errorf("%d of %d kinds are defined by the release", written, len(kinds))
	}
	return nil
}

// write keeps of a definition what judging needs.
func write(kind string, spec, names map[string]any) error {
	var versions []any
	all, _ := spec["versions"].([]any)
	for _, v := range all {
		version, _ := v.(map[string]any)
		if version["served"] != true {
			continue
		}
		schema, _ := version["schema"].(map[string]any)
		strip(schema)
		versions = append(versions, map[string]any{"name": version["name"], "served": true, "storage": version["storage"], "schema": schema})
	}
	kept := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"spec": map[string]any{"group": spec["group"], "scope": spec["scope"], "names": map[string]any{"kind": names["kind"], "plural": names["plural"]}, "versions": versions},
	}
	data, err := json.Marshal(kept) // with sorted keys: the same bytes for the same release
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, strings.ToLower(kind)+".json"), append(data, '\n'), 0o644)
}

// strip deletes descriptions, and says of status that it may be anything.
func strip(node any) {
	switch n := node.(type) {
	case []any:
		for _, x := range n {
			strip(x)
		}
	case map[string]any:
		if _, text := n["description"].(string); text {
			delete(n, "description")
		}
		if top, ok := n["openAPIV3Schema"].(map[string]any); ok {
			if properties, ok := top["properties"].(map[string]any); ok && properties["status"] != nil {
				properties["status"] = map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
			}
		}
		for _, x := range n {
			strip(x)
		}
	}
}
