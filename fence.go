package cachify

import (
	"strconv"
	"strings"
)

// fenceKeys gives the keys that remember the last fencing tokens of locks.
func (c *Client) fenceKeys(locks []string) []string {
	keys := make([]string, len(locks))
	for i, lock := range locks {
		keys[i] = fenceKey(c.opts.Prefix, lock)
	}
	return keys
}

// fenceKey gives the key that remembers the last fencing token of a lock, in the lock's own Redis Cluster slot whatever
// braces there are in prefix and name. One of them decides for each lock, so that all processes agree:
//
//   - The lock's name has a hash tag: the same name, which then has it too.
//   - It has none, and no brace is in the way: the whole lock as a hash tag.
//   - Else a hash tag in front that has the same slot.
func fenceKey(prefix, lock string) string {
	name := prefix + "fence:" + strings.TrimPrefix(lock, prefix+"lock:")
	tag := hashTag(lock)
	if tag != "" && hashTag(name) == tag {
		return name
	}
	if tag == "" && !strings.Contains(prefix, "{") && !strings.Contains(lock, "}") {
		return prefix + "fence:{" + lock + "}"
	}
	return "{" + tagOf(slot(lock)) + "}" + name
}

// hashTag gives the part of a key that alone decides its slot, if there is one.
//
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
func hashTag(key string) string {
	_, after, _ := strings.Cut(key, "{")
	tag, _, ok := strings.Cut(after, "}")
	if !ok {
		return ""
	}
	return tag
}

// tagOf gives a hash tag that belongs to a slot. It takes some 16,000 tries.
func tagOf(want uint16) string {
	for n := 0; ; n++ {
		if tag := strconv.Itoa(n); slot(tag) == want {
			return tag
		}
	}
}

// slot gives the slot of a key: CRC-16/XMODEM of its hash tag, or of all of it, modulo 16384.
//
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model
func slot(key string) uint16 {
	if tag := hashTag(key); tag != "" {
		key = tag
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc >> 15
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
	}
	return crc % 16384
}
