package keytemplate

import "unicode/utf8"

// A keyPlace is a place in a key where the text of a value goes. It knows which bytes of the text could be misread
// there: those that would end it early, and those that no key should show as they are.
//
// A text is written as units: a byte that is not special; an escape byte and two upper-case hexadecimal digits for one
// that is; or an escape byte and a lower-case word or a * for what is no text, such as nil. So a reader who goes unit by
// unit knows where the text ends (at the first special byte that is not an escape byte) and what it was.
type keyPlace struct {
	escape  byte      // %, or ~ where a literal that starts with % follows
	rune    byte      // the first byte of what follows, if it is not ASCII
	numbers bool      // whether bytes of numbers are special
	special [256]bool // bytes that appendText can't take as they are; all that are not ASCII are among them, to be looked at
}

var (
	lastPlace   = newKeyPlace("")
	listPlace   = newKeyPlace(",", "]") // an element of a list, or a value of a map
	mapKeyPlace = newKeyPlace("=")
	fieldPlace  = newKeyPlace(",", ")") // a field of a struct

	tagPlace = &keyPlace{escape: '%'} // texts in tags stay as they are
)

// newKeyPlace makes the place of a text that one of follows comes after; they are valid UTF-8. None, or an empty one,
// stands for the last text of a key: what ends it is known from the key's end, so nothing can be misread.
func newKeyPlace(follows ...string) *keyPlace {
	p := &keyPlace{escape: '%'}
	for c := range p.special {
		p.special[c] = c <= ' ' || c >= 0x7f
	}
	p.special['%'] = true
	p.special['{'], p.special['}'] = true, true // a value must not pick a Redis Cluster slot
	for _, text := range follows {
		if text == "" {
			continue
		}
		p.special[text[0]] = true
		switch {
		case text[0] == '%':
			p.escape = '~'
			p.special['~'] = true
		case text[0] >= utf8.RuneSelf:
			p.rune = text[0]
		}
	}
	for _, c := range "0123456789+-.einfINF" {
		p.numbers = p.numbers || p.special[c]
	}
	return p
}

// appendText appends s, escaped as this place needs it.
func (p *keyPlace) appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if p.special[s[i]] {
			return p.appendEscaped(append(b, s[:i]...), s[i:])
		}
	}
	return append(b, s...)
}

func (p *keyPlace) appendEscaped(b []byte, s string) []byte {
	for len(s) > 0 {
		n := 1
		takes := !p.special[s[0]]
		if s[0] >= utf8.RuneSelf {
			n, takes = p.takesRune(s)
		}
		if takes {
			b = append(b, s[:n]...)
		} else {
			for i := range n {
				b = p.appendHex(b, s[i])
			}
		}
		s = s[n:]
	}
	return b
}

// takesRune gives the size of the first rune of s, and whether it stays as it is: not if the text could end there,
// if it is a control character, or if it is not valid UTF-8.
func (p *keyPlace) takesRune(s string) (size int, takes bool) {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return 1, false
	}
	return n, r > 0x9f && s[0] != p.rune
}

func (p *keyPlace) appendHex(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, p.escape, digits[c>>4], digits[c&15])
}

// guardNumber escapes what it must of the number in b[start:].
func (p *keyPlace) guardNumber(b []byte, start int) []byte {
	if !p.numbers {
		return b // inlined, unlike the rest
	}
	return p.escapeNumber(b, start)
}

// escapeNumber leaves the first byte as it is: as a number is never empty, it can't be taken for what follows.
func (p *keyPlace) escapeNumber(b []byte, start int) []byte {
	for i := start + 1; i < len(b); i++ {
		if p.special[b[i]] {
			return p.appendEscaped(b[:i], string(b[i:]))
		}
	}
	return b
}

// appendNil appends the text of a nil, depth pointers deep.
func (p *keyPlace) appendNil(b []byte, depth int) []byte {
	b = append(b, p.escape)
	for range depth {
		b = append(b, '*')
	}
	return append(b, "nil"...)
}
