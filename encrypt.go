package cachify

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
)

const (
	nonceSize = 12
	tagSize   = 16
)

// Encrypt gives a codec that encrypts what c writes with AES-GCM (NIST SP 800-38D). The entry's key is authenticated
// too, so an entry that was changed, or copied to another key, is a miss. The key, tags and times of an entry are not
// hidden, nor is its length.
//
// key has 16, 24 or 32 bytes, for AES-128, AES-192 or AES-256; other lengths are an error. Values are encrypted with key
// and decrypted with it or one of old: to rotate keys, give the new one as old to every process first, then make it
// the key and the former one old, and drop that once the longest TTL has passed. Each value has a random nonce of 96
// bits, so use a key for no more than 4 billion values (2³²).
//
// A nil c is [MsgPack].
func Encrypt(c Codec, key []byte, old ...[]byte) (Codec, error) {
	if c == nil {
		c = MsgPack()
	}
	e := &encrypted{Codec: c}
	for _, k := range append([][]byte{key}, old...) {
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, fmt.Errorf("cachify: Encrypt: a key must have 16, 24 or 32 bytes, not %d: %w", len(k), err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("cachify: Encrypt: %w", err)
		}
		e.keys = append(e.keys, aead)
	}
	return e, nil
}

type encrypted struct {
	Codec
	keys []cipher.AEAD // the first one encrypts
}

func (e *encrypted) Name() string { return "aes-gcm+" + e.Codec.Name() }

func (e *encrypted) checkType(t reflect.Type) error { return checkValueType(t, e.Codec) }

func (e *encrypted) Append(dst []byte, key string, v any) ([]byte, error) {
	start := len(dst)
	b := append(dst, make([]byte, nonceSize)...)
	rand.Read(b[start:]) // never fails
	b, err := e.Codec.Append(b, key, v)
	if err != nil {
		return nil, err
	}
	b = slices.Grow(b, tagSize)
	head, plain := b[:start+nonceSize], b[start+nonceSize:]
	return e.keys[0].Seal(head, head[start:], plain, []byte(key)), nil // in place
}

var plaintexts = sync.Pool{New: func() any { return new([]byte) }}

func (e *encrypted) Decode(data []byte, key string, v any) error {
	if len(data) < nonceSize+tagSize {
		return errors.New("cachify: decrypting: the data is too short")
	}
	nonce, sealed := data[:nonceSize], data[nonceSize:]
	buf := plaintexts.Get().(*[]byte)
	defer func() {
		clear(*buf)
		if cap(*buf) <= maxPooled {
			plaintexts.Put(buf)
		}
	}()
	for _, k := range e.keys {
		plain, err := k.Open((*buf)[:0], nonce, sealed, []byte(key))
		if err != nil {
			continue
		}
		*buf = plain
		return e.Codec.Decode(plain, key, v)
	}
	return errors.New("cachify: decrypting: the data was changed, belongs to another key, or was encrypted with a key not given to Encrypt")
}
