package credential

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// Sealer encrypts what the catalog must not hold in the clear. name is the catalog key of the record; what was sealed
// under one name does not open under another. Safe for concurrent use.
type Sealer interface {
	Seal(name string, plaintext []byte) ([]byte, error)
	Open(name string, sealed []byte) ([]byte, error)
}

// ErrSealed: a sealed record is damaged, of another format, or sealed under another name or key. Which of these it is
// cannot be told, and would not be said.
var ErrSealed = errors.New("credential: sealed record does not open")

const (
	format     = 1
	keyBytes   = 32
	nonceBytes = 12
	tagBytes   = 16
	maxKeyID   = 64
)

// seal implements the sealed form of the package comment.
func seal(k key, name string, plaintext []byte) ([]byte, error) {
	dek := make([]byte, keyBytes)
	rand.Read(dek) // never fails: crypto/rand
	defer clear(dek)
	head := header(k.ID)
	out := make([]byte, 0, len(head)+2*nonceBytes+keyBytes+2*tagBytes+len(plaintext))
	out = append(out, head...)
	out, err := appendSealed(out, k.secret.Reveal(), dek, keyData(head, name))
	if err != nil {
		return nil, err
	}
	return appendSealed(out, dek, plaintext, valueData(name))
}

// open undoes seal; find returns the key of an id.
func open(name string, sealed []byte, find func(id string) (key, error)) ([]byte, error) {
	id, head, rest, err := parse(sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSealed, name, err)
	}
	k, err := find(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrSealed, name, err)
	}
	wrapped, value := rest[:nonceBytes+keyBytes+tagBytes], rest[nonceBytes+keyBytes+tagBytes:]
	dek, err := openSealed(k.secret.Reveal(), wrapped, keyData(head, name))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrSealed, name)
	}
	defer clear(dek)
	plaintext, err := openSealed(dek, value, valueData(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrSealed, name)
	}
	return plaintext, nil
}

// parse splits a sealed record into the key's id, the head, and the two sealed parts, which are at least as long as they
// must be.
func parse(sealed []byte) (id string, head, rest []byte, err error) {
	if len(sealed) < 2 || sealed[0] != format {
		return "", nil, nil, errors.New("another format, or none")
	}
	n := int(sealed[1])
	if n == 0 || n > maxKeyID || len(sealed) < 2+n+2*(nonceBytes+tagBytes)+keyBytes {
		return "", nil, nil, errors.New("too short")
	}
	return string(sealed[2 : 2+n]), sealed[:2+n], sealed[2+n:], nil
}

func header(id string) []byte { return append([]byte{format, byte(len(id))}, id...) }

func keyData(head []byte, name string) []byte {
	return append(append([]byte("penstock/key/1\x00"), head...), name...)
}

func valueData(name string) []byte { return append([]byte("penstock/value/1\x00"), name...) }

// appendSealed appends a random nonce and plaintext sealed with key. The nonce may be random: a data key seals once, and a
// key-encryption key far less often than the 2^32 times that SP 800-38D §8.3 allows.
func appendSealed(out, key, plaintext, data []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceBytes)
	rand.Read(nonce)
	return aead.Seal(append(out, nonce...), nonce, plaintext, data), nil
}

func openSealed(key, sealed, data []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, sealed[:nonceBytes], sealed[nonceBytes:], data)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
