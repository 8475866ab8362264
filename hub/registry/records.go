package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"penstock.dev/penstock/hub/catalog"
)

// Purposes of the sealed keys under catalog.KeysPrefix.
const (
	purposeGroup  = "hub-group" // the hub's gateway group id
	purposeDomain = "domain"    // the key of pseudonyms
	purposeMAC    = "cdn-loop"  // a macRecord
)

// caRecord is a root: ca/<n>. All roots are trusted; the one with the highest number that issues is the issuer.
type caRecord struct {
	// Certificate in PEM.
	Certificate string `json:"certificate"`
	// Key in PKCS #8, sealed under the record's key.
	Key []byte `json:"key"`
	// Issuing is false while a new root is only made known, or an old one only still trusted.
	Issuing bool `json:"issuing"`
}

// clusterRecord is what the registry knows of a cluster beside its object: clusters/<name>.
type clusterRecord struct {
	// Changed last; decides which one is newer once revisions do not, after a restore.
	Changed time.Time `json:"changed"`
	// Registered last; zero: only suspended or revoked by name so far.
	Registered time.Time `json:"registered,omitzero"`
	// Group is the gateway group, minted by the first join; empty: nobody has joined, or it was revoked.
	Group  string    `json:"group,omitempty"`
	Joined time.Time `json:"joined,omitzero"`
	// Epoch counts revocations: a token of an earlier epoch is dead.
	Epoch int64 `json:"epoch,omitempty"`
	// Suspended since; zero: not.
	Suspended time.Time `json:"suspended,omitzero"`
	// Revoked is the last revocation, RevokedGroup the group that it ended, if one had joined.
	Revoked      time.Time `json:"revoked,omitzero"`
	RevokedGroup string    `json:"revokedGroup,omitempty"`
}

// tokenRecord is a join token: tokens/<hex SHA-256 of the token>.
type tokenRecord struct {
	Cluster string    `json:"cluster"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Epoch   int64     `json:"epoch,omitempty"`
	// Used, and by whom: a repeat with the same key and instance gets its certificate again, so that a lost answer
	// does not cost the token.
	Used     time.Time `json:"used,omitzero"`
	Instance string    `json:"instance,omitempty"`
	Key      string    `json:"key,omitempty"`
}

// instanceRecord is one process of a gateway group: instances/<group>/<instance>.
type instanceRecord struct {
	// Changed as in clusterRecord.
	Changed time.Time `json:"changed"`
	Cluster string    `json:"cluster"`
	// Generation of the newest certificate, its serial, end and the SHA-256 of its public key.
	Generation int64     `json:"generation"`
	Serial     string    `json:"serial"`
	NotAfter   time.Time `json:"notAfter"`
	Key        string    `json:"key"`
	// Floor: certificates that end at or before it are of an earlier enrolment and refused, the newest one excepted.
	Floor time.Time `json:"floor,omitzero"`
	// Locked since, and why; zero: not.
	Locked time.Time `json:"locked,omitzero"`
	Reason string    `json:"reason,omitempty"`
}

// serialRecord is an issued certificate: serials/<serial>.
type serialRecord struct {
	Cluster    string    `json:"cluster"`
	Group      string    `json:"group"`
	Instance   string    `json:"instance"`
	Generation int64     `json:"generation"`
	NotAfter   time.Time `json:"notAfter"`
}

// macRecord are the CDN-Loop MAC keys, sealed: keys/cdn-loop.
type macRecord struct {
	Current  []byte    `json:"current"`
	Previous []byte    `json:"previous,omitempty"`
	Rotated  time.Time `json:"rotated"`
}

// encode is JSON; the records have no value that JSON cannot hold.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("registry: encode %T: %v", v, err))
	}
	return b
}

// decode ignores unknown members, so that an old replica reads what a newer one wrote.
func decode[T any](rec catalog.Record) (T, error) {
	var v T
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		// The JSON error may quote the value, and some values are secrets.
		return v, fmt.Errorf("registry: record %s is not a %T", rec.Key, v)
	}
	return v, nil
}
