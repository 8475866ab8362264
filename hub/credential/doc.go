// Package credential keeps credential values: it seals them into the catalog, watches for new ones, and writes the current
// one onto a request. It is the one place that knows a value; [Secret.Reveal] is the only way out of a Secret, and only
// this package calls it.
//
//	Keyring   the key-encryption keys, a file beside the hub, never in the catalog; seals and opens records
//	Store     sets, lists and deletes values in the catalog
//	Vault     follows the catalog and writes values onto requests; serves from memory while the catalog is away
//
// It does not know Backends, grants or TLS: which credential a request gets is decided by package manifest, and that the
// peer is the host it claims to be is checked by package gateway/endpoint, which calls [Vault.Apply] last of all.
//
// # Records
//
//	secrets/<namespace>/<name>/<version>   a sealed value, never changed after it was written
//	secrets/<namespace>/<name>/current     {"schema":1,"version":"<version>"}
//
// Both are written in one commit, so a reader sees the old version or the new one. The version before the current one is
// kept; older ones are deleted by the same commit. A version is 26 characters of Crockford's base 32, 48 bits of
// milliseconds since 1970 and 80 random bits; a later version of a Credential is greater as a string, whatever the clocks
// say, and no two values share one, also after a Credential was deleted and made again.
//
// A reader that meets a current record with a newer schema keeps the value it has.
//
// # Sealed form
//
// A sealed record is envelope encryption under AES-256-GCM (NIST SP 800-38D): a fresh data key for each record, which is
// itself sealed with a key-encryption key. Lengths in bytes:
//
//	1    format, 1
//	1    length n of the key id, 1 to 64
//	n    id of the key-encryption key
//	12   nonce of the data key
//	48   data key, sealed: 32 and a tag of 16
//	12   nonce of the value
//	…    value, sealed: its length and a tag of 16
//
// The data key is sealed with the additional data "penstock/key/1", a zero byte, the format, the length and id of the
// key, and the record's catalog key; the value with "penstock/value/1", a zero byte and the record's catalog key. The
// catalog key ends in the version, so a record that was moved to another Credential, or to another version of its own,
// does not open. An old reader refuses another format.
//
// # Key ring
//
// The key ring is a JSON file that only its owner can read (a hub in a cluster may read it by its group, where the file
// belongs to somebody else, as with a mounted Secret):
//
//	{"keys":[{"id":"k-01jd…","created":"2026-11-22T09:00:00Z","key":"<32 bytes, base 64>"}],"primary":"k-01jd…"}
//
// New records are sealed with the primary key, all keys open. Unknown members are refused. Replicas share one key ring:
// the same file, or copies of it. Who loses it loses the credentials and the CA's key; back it up apart from the catalog.
package credential
