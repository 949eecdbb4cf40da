package keytemplate

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

const (
	maxKeySize  = 512 // bytes, without the prefix
	longKeyMark = "%sha256:"
	longKeyTail = len(longKeyMark) + 2*sha256.Size
)

// finish makes a string of what was rendered to b[start:].
func (p *keyProgram) finish(b []byte, start int) string {
	if p.use == ofTag {
		return string(b)
	}
	return string(shortenKey(b, start))
}

// shortenKey ends the key in b[start:] in its hash if it is too long: the beginning stays for people to read. A key that
// looks shortened without being so is shortened too, so that the two can never be one.
func shortenKey(b []byte, start int) []byte {
	key := b[start:]
	if len(key) <= maxKeySize && !looksShortened(key) {
		return b
	}
	sum := sha256.Sum256(key)
	keep := min(len(key), maxKeySize-longKeyTail)
	for keep > 0 && keep < len(key) && !utf8.RuneStart(key[keep]) {
		keep--
	}
	return hex.AppendEncode(append(b[:start+keep], longKeyMark...), sum[:])
}

// looksShortened says whether key could have been made by shortenKey.
func looksShortened(key []byte) bool {
	return len(key) > maxKeySize-utf8.UTFMax && string(key[len(key)-longKeyTail:][:len(longKeyMark)]) == longKeyMark
}
