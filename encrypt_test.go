package cachify

import (
	"bytes"
	"strings"
	"testing"
)

func TestEncryptHidesAndBinds(t *testing.T) {
	key := bytes.Repeat([]byte{1}, 16)
	c, err := Encrypt(MsgPack(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret := "attack at dawn"
	data, err := c.Append(nil, "user-1", &secret)
	if err != nil || bytes.Contains(data, []byte("attack")) || len(data) != nonceSize+1+len(secret)+tagSize {
		t.Fatalf("%q is written as %x, %v", secret, data, err)
	}
	again, err := c.Append(nil, "user-1", &secret)
	if err != nil || bytes.Equal(data[:nonceSize], again[:nonceSize]) {
		t.Errorf("a nonce came twice: %v", err)
	}
	var got string
	if err := c.Decode(data, "user-1", &got); err != nil || got != secret {
		t.Errorf("comes back as %q, %v", got, err)
	}
	if err := c.Decode(data, "user-2", &got); err == nil || !strings.HasPrefix(err.Error(), "cachify: ") {
		t.Errorf("a value moved to another key: %v", err)
	}
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 1
		if c.Decode(changed, "user-1", &got) == nil || c.Decode(data[:i], "user-1", &got) == nil {
			t.Errorf("changed or cut at byte %d it is decoded", i)
		}
	}
}

func TestEncryptRotatesKeys(t *testing.T) {
	codec := func(keys ...string) Codec {
		var old [][]byte
		for _, k := range keys[1:] {
			old = append(old, []byte(strings.Repeat(k, 32)))
		}
		c, err := Encrypt(JSON(), []byte(strings.Repeat(keys[0], 32)), old...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	reads := func(from, to Codec) bool {
		data, err := from.Append(nil, "k", ptr("x"))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		return to.Decode(data, "k", &got) == nil && got == "x"
	}
	a, ab, ba, b := codec("a"), codec("a", "b"), codec("b", "a"), codec("b")
	for _, tt := range []struct {
		from, to Codec
		want     bool
	}{{a, ab, true}, {a, ba, true}, {ba, ab, true}, {ba, b, true}, {a, b, false}, {b, a, false}, {ab, b, false}, {codec("c", "b", "a"), a, false}, {a, codec("c", "b", "a"), true}} {
		if got := reads(tt.from, tt.to); got != tt.want {
			t.Errorf("%d keys to %d: %v", len(tt.from.(*encrypted).keys), len(tt.to.(*encrypted).keys), got)
		}
	}
}

func TestEncryptWantsRightKeys(t *testing.T) {
	for n := range 40 {
		_, err := Encrypt(nil, make([]byte, n))
		_, oldErr := Encrypt(nil, make([]byte, 16), make([]byte, n))
		if ok := n == 16 || n == 24 || n == 32; (err == nil) != ok || (oldErr == nil) != ok {
			t.Errorf("a key of %d bytes: %v, %v", n, err, oldErr)
		} else if !ok && !strings.HasPrefix(err.Error(), "cachify: ") {
			t.Error(err)
		}
	}
	key := make([]byte, 32)
	c, err := Encrypt(nil, key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.Append(nil, "k", ptr(1))
	if err != nil {
		t.Fatal(err)
	}
	key[0] = 1 // the caller's own again
	if err := c.Decode(data, "k", new(int)); err != nil {
		t.Error(err)
	}
}

func TestEncryptAppendsInPlace(t *testing.T) {
	c := encrypting(t, MsgPack())
	buf := append(make([]byte, 0, 4096), "header"...)
	data, err := c.Append(buf, "k", ptr(strings.Repeat("x", 1000)))
	if err != nil || &data[0] != &buf[0] {
		t.Errorf("the buffer was left, %v", err)
	}
	var got string
	if err := c.Decode(data[len("header"):], "k", &got); err != nil || len(got) != 1000 {
		t.Errorf("%d bytes come back, %v", len(got), err)
	}
}
