package manifest

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ID is what makes an object that object and no other. The API version is not part of it.
type ID struct {
	// Group of the API; empty for core kinds.
	Group string
	Kind  string
	// Namespace is empty for kinds without one.
	Namespace string
	Name      string
}

// String is "Kind namespace/name", or "Kind name" without a namespace.
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + " " + id.Name
	}
	return id.Kind + " " + id.Namespace + "/" + id.Name
}

// Key is "namespace/name".
func (id ID) Key() string { return id.Namespace + "/" + id.Name }

func compareIDs(a, b ID) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Group, b.Group),
		strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// Source says where an object is written. The zero value: nowhere a person could look.
type Source struct {
	// File as given to Parse.
	File string
	// Document in File, counted from 0.
	Document int
	// Line in File where the document begins, counted from 1; 0: not known.
	Line int
}

func compareSources(a, b Source) int {
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Document, b.Document), cmp.Compare(a.Line, b.Line))
}

// Object is one manifest, decoded. Treat it as read-only: Sets share it.
type Object struct {
	ID     ID
	Source Source
	// Created is the origin creation time: metadata.creationTimestamp, unless the caller knows better (the catalog keeps
	// the age of a replicated or restored object). Of two objects that compete the older wins; the zero time is the
	// youngest, since an object that never was in a catalog or cluster is new.
	Created time.Time
	// Value is the typed object, a pointer: *v1alpha1.Backend, *gwv1.HTTPRoute, *corev1.Secret … An XBackend is
	// converted: ID.Kind is XBackend, Value a *v1alpha1.Backend. Its status is empty.
	Value metav1.Object
	// JSON is the object as written, without status, members sorted: the form that is stored and that Parse reads back.
	// For a Secret it holds the secret bytes: it must not be printed, nor stored unsealed.
	JSON []byte

	// lines maps field paths to lines of Source.File.
	lines map[string]int
}

// String names the object and nothing of its content, so that an Object in a log line gives no Secret away.
func (o Object) String() string { return o.ID.String() }

// GoString is String, for %#v.
func (o Object) GoString() string { return o.ID.String() }

// Format is String under every verb.
func (o Object) Format(f fmt.State, _ rune) { fmt.Fprint(f, o.ID.String()) }

// Generation is metadata.generation, which conditions repeat as observedGeneration.
func (o Object) Generation() int64 { return o.Value.GetGeneration() }

// Problem makes a finding about a field of the object, with file and line filled in.
func (o Object) Problem(field, reason, message, remedy string) Problem {
	return Problem{
		File: o.Source.File, Line: o.line(field), Object: o.ID.String(),
		Field: field, Reason: reason, Message: message, Remedy: remedy,
	}
}

// line is where field is written, or where the closest field around it is.
func (o Object) line(field string) int {
	for field != "" {
		if n, ok := o.lines[field]; ok {
			return n
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			break
		}
		field = field[:i]
	}
	return o.Source.Line
}

// older orders two objects that compete: by origin creation time, then by namespace and name. The zero time is youngest.
func older(a, b *Object) int {
	return cmp.Or(compareCreated(a.Created, b.Created), compareIDs(a.ID, b.ID))
}

func compareCreated(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}
