package manifest

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Set is one consistent set of objects: what a folder, a cluster or the catalog held at one moment. It is not changed
// after NewSet and safe for concurrent use. A nil Set is empty.
type Set struct {
	objects []Object // sorted by ID
	byID    map[ID]int
}

// NewSet joins objects, from several sources if need be. Of two objects with the same ID the one that stands later (by
// file name, then document) is refused, naming the first, whatever the order of the arguments: two files that fight over
// a name must not win in turns.
func NewSet(objects ...[]Object) (*Set, []Problem) {
	s := &Set{objects: slices.Concat(objects...), byID: map[ID]int{}}
	slices.SortStableFunc(s.objects, func(a, b Object) int {
		if c := compareIDs(a.ID, b.ID); c != 0 {
			return c
		}
		return compareSources(a.Source, b.Source)
	})
	var problems []Problem
	kept := s.objects[:0]
	for _, o := range s.objects {
		if i, ok := s.byID[o.ID]; ok {
			problems = append(problems, o.Problem("metadata.name", ReasonDuplicate,
				"the same object is already "+describeSource(kept[i].Source), "remove one of the two"))
			continue
		}
		s.byID[o.ID] = len(kept)
		kept = append(kept, o)
	}
	s.objects = kept
	return s, sortProblems(problems)
}

func describeSource(src Source) string {
	switch {
	case src.File == "":
		return "there"
	case src.Line == 0:
		return "in " + src.File
	}
	return fmt.Sprintf("in %s:%d", src.File, src.Line)
}

// Objects returns all objects, sorted by kind, namespace and name. The caller must not change them.
func (s *Set) Objects() []Object {
	if s == nil {
		return nil
	}
	return s.objects
}

// Get returns the object with that ID.
func (s *Set) Get(id ID) (Object, bool) {
	o := s.find(id)
	if o == nil {
		return Object{}, false
	}
	return *o, true
}

func (s *Set) find(id ID) *Object {
	if s == nil {
		return nil
	}
	i, ok := s.byID[id]
	if !ok {
		return nil
	}
	return &s.objects[i]
}

// KeyPair returns the certificate and private key of the Secret "namespace/name" (tls.crt, tls.key). Private keys stay
// in the Set: a snapshot holds only the name and a hash. The error never quotes the key.
func (s *Set) KeyPair(name string) (*tls.Certificate, error) {
	ns, secret, _ := strings.Cut(name, "/")
	o := s.find(ID{Kind: "Secret", Namespace: ns, Name: secret})
	if o == nil {
		return nil, fmt.Errorf("manifest: key pair %s: no such Secret; create it with tls.crt and tls.key", name)
	}
	pair, err := parseKeyPair(o.Value.(*corev1.Secret))
	if err != nil {
		return nil, fmt.Errorf("manifest: key pair %s: %w", name, err)
	}
	return pair, nil
}

// object is an Object together with its Value as what it is.
type object[T metav1.Object] struct {
	*Object
	value T
}

// each returns the objects of one Go type, in the Set's order.
func each[T metav1.Object](s *Set) []object[T] {
	var out []object[T]
	if s == nil {
		return nil
	}
	for i := range s.objects {
		if v, ok := s.objects[i].Value.(T); ok {
			out = append(out, object[T]{Object: &s.objects[i], value: v})
		}
	}
	return out
}

// lookup returns the object of that ID as its type.
func lookup[T metav1.Object](s *Set, id ID) (object[T], bool) {
	if o := s.find(id); o != nil {
		if v, ok := o.Value.(T); ok {
			return object[T]{Object: o, value: v}, true
		}
	}
	return object[T]{}, false
}
