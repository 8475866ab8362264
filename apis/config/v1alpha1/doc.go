// Package v1alpha1 holds the configuration files of hub and spoke (ComponentConfig style), one strict YAML file each:
// their types, how they are read, what an absent field means, and what is refused.
//
//	apiVersion: config.penstock.dev/v1alpha1
//	kind: SpokeConfig
//	stateDir: /var/lib/penstock
//	manifests: manifests          # relative to this file
//	parent:
//	  bundle: join.json
//
// LoadHub and LoadSpoke read a file; ParseHub and ParseSpoke do the same with bytes. What they return is complete:
// defaults are filled in, relative paths (those of unix:// too) are resolved against the folder of the file, every value
// was checked. What is wrong comes back as one *Error with all problems, each with file, line, field, reason and remedy:
//
//	hub.yaml:7: tunnel.drainTime: "soon" is not a duration; write a number with a unit, e.g. "30s"
//
// The YAML is strict: one document, no anchors or aliases, no field twice, no field that is not known, no number where
// text belongs. A field that is present but empty is absent. JSON is YAML, so a file made by json.Marshal of these types
// reads back the same.
//
// The package is linked into the spoke and therefore imports neither Kubernetes nor any code of ours. It knows what the
// fields may hold, not what they do: read hub and spoke for that.
package v1alpha1
