package admin

import "time"

// Credential is what is known about a credential: everything but its value.
type Credential struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Kind is how a value is written: Header, Bearer, Basic or QueryParameter.
	Kind string `json:"kind,omitempty"`
	// Hosts the value may ever be sent to.
	Hosts []string `json:"hosts,omitempty"`
	// Version in use; empty: no value was set yet.
	Version string `json:"version,omitempty"`
	// Versions that are kept, newest first.
	Versions []CredentialVersion `json:"versions,omitempty"`
}

// CredentialVersion is one value that was set.
type CredentialVersion struct {
	Version string    `json:"version"`
	Created time.Time `json:"created,omitzero"`
}

// CredentialList is sorted by namespace and name.
type CredentialList struct {
	Items []Credential `json:"items"`
}
