package catalog

import (
	"errors"
	"fmt"
	"strings"
)

// Families of keys, each with its slash: prefixes for List and Watch.
const (
	ObjectsPrefix   = "objects/"
	SecretsPrefix   = "secrets/"
	CAPrefix        = "ca/"
	ClustersPrefix  = "clusters/"
	TokensPrefix    = "tokens/"
	SerialsPrefix   = "serials/"
	InstancesPrefix = "instances/"
	ReplicasPrefix  = "replicas/"
	AcksPrefix      = "acks/"
	KeysPrefix      = "keys/"
	ElectedPrefix   = "elected/"
)

// current is the last segment of a secret's pointer.
const current = "current"

// ErrKey: a key is not of the family that was asked for, or not written the one way it is written.
var ErrKey = errors.New("catalog: malformed key")

// Ref names an object. Group is empty for the core group, Namespace for a cluster-scoped kind.
type Ref struct {
	Group, Kind, Namespace, Name string
}

// String is "Kind.group namespace/name", for errors and logs.
func (r Ref) String() string {
	s := r.Kind
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Namespace != "" {
		return s + " " + r.Namespace + "/" + r.Name
	}
	return s + " " + r.Name
}

// ObjectKey of an object.
func ObjectKey(r Ref) string { return ObjectsPrefix + join(r.Group, r.Kind, r.Namespace, r.Name) }

// KindPrefix of all objects of a kind.
func KindPrefix(group, kind string) string { return ObjectsPrefix + join(group, kind) + "/" }

// ParseObjectKey undoes ObjectKey; it returns ErrKey for anything that ObjectKey does not make.
func ParseObjectKey(key string) (Ref, error) {
	s, err := split(key, ObjectsPrefix, 4)
	if err != nil {
		return Ref{}, err
	}
	return Ref{Group: s[0], Kind: s[1], Namespace: s[2], Name: s[3]}, nil
}

// SecretKey of one version of a Credential's value.
func SecretKey(namespace, name, version string) string {
	return SecretsPrefix + join(namespace, name, version)
}

// SecretCurrentKey of the record that says which version of a Credential's value is in use.
func SecretCurrentKey(namespace, name string) string { return SecretKey(namespace, name, current) }

// SecretPrefix of all records of one Credential.
func SecretPrefix(namespace, name string) string { return SecretsPrefix + join(namespace, name) + "/" }

// ParseSecretKey undoes SecretKey and, with isCurrent and no version, SecretCurrentKey. It returns ErrKey for others.
func ParseSecretKey(key string) (namespace, name, version string, isCurrent bool, err error) {
	s, err := split(key, SecretsPrefix, 3)
	if err != nil {
		return "", "", "", false, err
	}
	if s[2] == current {
		return s[0], s[1], "", true, nil
	}
	return s[0], s[1], s[2], false, nil
}

// CAKey of the n-th issuing CA; keys sort as the numbers do.
func CAKey(n uint32) string { return fmt.Sprintf("%s%08d", CAPrefix, n) }

// ClusterKey of what the registry keeps of a cluster.
func ClusterKey(name string) string { return ClustersPrefix + escape(name) }

// TokenKey of a join token; hash is the hash of it, never the token.
func TokenKey(hash string) string { return TokensPrefix + escape(hash) }

// SerialKey of an issued certificate.
func SerialKey(serial string) string { return SerialsPrefix + escape(serial) }

// InstanceKey of a gateway process.
func InstanceKey(group, instance string) string { return InstancesPrefix + join(group, instance) }

// ReplicaKey of a live hub replica.
func ReplicaKey(name string) string { return ReplicasPrefix + escape(name) }

// AckKey of what a replica serves.
func AckKey(replica string) string { return AcksPrefix + escape(replica) }

// PurposeKey of a sealed key that all replicas share.
func PurposeKey(purpose string) string { return KeysPrefix + escape(purpose) }

// ElectedKey of an election.
func ElectedKey(name string) string { return ElectedPrefix + escape(name) }

// Segments undoes the escaping of a key of any family: it returns the segments behind prefix, which must be n. It
// returns ErrKey if the key has another prefix, another number of segments, or one written another way than it would be.
func Segments(key, prefix string, n int) ([]string, error) { return split(key, prefix, n) }

func join(segments ...string) string {
	var b strings.Builder
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(escape(s))
	}
	return b.String()
}

func split(key, prefix string, n int) ([]string, error) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return nil, fmt.Errorf("%w: %q does not begin with %q", ErrKey, key, prefix)
	}
	segments := strings.Split(rest, "/")
	if len(segments) != n {
		return nil, fmt.Errorf("%w: %q has %d segments behind %q, want %d", ErrKey, key, len(segments), prefix, n)
	}
	for i, s := range segments {
		plain, ok := unescape(s)
		if !ok || escape(plain) != s { // one spelling only, or two keys would name one thing
			return nil, fmt.Errorf("%w: segment %q of %q", ErrKey, s, key)
		}
		segments[i] = plain
	}
	return segments, nil
}

const hexDigits = "0123456789ABCDEF"

func plainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~' || c == ':'
}

// escape makes one segment; see the package comment for the grammar.
func escape(s string) string {
	switch s {
	case "":
		return "_"
	case "_":
		return "%5F"
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; plainByte(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hexDigits[c>>4])
			b.WriteByte(hexDigits[c&15])
		}
	}
	return b.String()
}

func unescape(s string) (string, bool) {
	if s == "_" {
		return "", true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := strings.IndexByte(hexDigits, s[i+1]), strings.IndexByte(hexDigits, s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), true
}
