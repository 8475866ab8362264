package admin

import (
	"encoding/json"
	"time"
)

// Manifests are what apply, diff and validate work on.
type Manifests struct {
	Items []Manifest `json:"items"`
}

// Manifest is one file of YAML documents, or of JSON.
type Manifest struct {
	// Source names the file in findings; "-" is standard input.
	Source string `json:"source"`
	// Data is the content, UTF-8.
	Data string `json:"data"`
}

// ObjectKey names an object.
type ObjectKey struct {
	// APIVersion is "group/version", or "v1" for core kinds.
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind"`
	// Namespace is empty for a cluster-scoped object.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String is "Kind namespace/name", or "Kind name" without a namespace.
func (k ObjectKey) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Object is an object of the catalog with the status it has earned.
type Object struct {
	ObjectKey
	// Owner wrote it: "cli", "folder:<path>" or "cluster:<name>". Another one may not change it.
	Owner string `json:"owner"`
	// Created is its origin creation time, which decides ties.
	Created time.Time `json:"created,omitzero"`
	// Revision of the catalog at which it was written last.
	Revision   int64       `json:"revision,omitempty"`
	Conditions []Condition `json:"conditions,omitempty"`
	// Manifest is the object as applied: canonical JSON, without status.
	Manifest json.RawMessage `json:"manifest,omitempty"`
}

// Condition is a Kubernetes condition, without its time.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // True, False or Unknown
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
}

// ObjectList is sorted by kind, namespace and name.
type ObjectList struct {
	Items []Object `json:"items"`
}

// What happens to an object.
const (
	Created   = "created"
	Changed   = "changed"
	Unchanged = "unchanged"
	Deleted   = "deleted"
)

// Change is what a write did to one object, or would do.
type Change struct {
	ObjectKey
	// Change is Created, Changed, Unchanged or Deleted.
	Change string `json:"change"`
	// Source is the manifest it comes from, with apply and diff.
	Source string `json:"source,omitempty"`
	// Diff is a line diff with diff, one line an element, each beginning with ' ', '+' or '-'; empty when nothing changes.
	Diff []string `json:"diff,omitempty"`
}

// ChangeList is in the order of the manifests.
type ChangeList struct {
	Items []Change `json:"items"`
}

// Finding is one thing that is wrong with a manifest, or with an object that is already there.
type Finding struct {
	// File is Manifest.Source; empty for objects of the catalog.
	File string `json:"file,omitempty"`
	// Line counts from 1; 0: not known.
	Line int `json:"line,omitempty"`
	// Object is "Kind namespace/name"; empty when the document could not be read.
	Object string `json:"object,omitempty"`
	// Field is a path such as spec.externalHostname.hostname.
	Field string `json:"field,omitempty"`
	// Reason is the CamelCase reason of the condition, for programs.
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Remedy is what to change.
	Remedy string `json:"remedy,omitempty"`
	// Severity is "warning" for what is served as it is written; else it is refused or left out.
	Severity string `json:"severity,omitempty"`
}

// FindingList is sorted by file, line and object; empty: all is well.
type FindingList struct {
	Items []Finding `json:"items"`
}
