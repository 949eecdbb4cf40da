package keytemplate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

const knownFilters = "the filters are hash, lower, upper and trim, and for a time.Time a layout such as 2006-01-02"

// A keyFilter is a function of a text.
type keyFilter uint8

const (
	filterHash keyFilter = iota
	filterLower
	filterUpper
	filterTrim
)

var keyFilterNames = map[string]keyFilter{"hash": filterHash, "lower": filterLower, "upper": filterUpper, "trim": filterTrim}

// keyFilters are what a placeholder does to its value before it goes into the key.
type keyFilters struct {
	layout string // of a time.Time, else empty
	texts  []keyFilter
	fixed  bool // no result is the beginning of another one, so that nothing in it can be misread
}

// bindFilters finds the filters called names for a value of type k.
func bindFilters(names []string, k *keyType) (keyFilters, error) {
	var fs keyFilters
	for k.form == formPointer {
		k = k.elem
	}
	isText := k.isText()
	for i, name := range names {
		f, known := keyFilterNames[name]
		switch {
		case known && f != filterHash && !isText:
			return fs, fmt.Errorf("%s works on texts alone, not on %s: take it away", name, k.typ)
		case known:
			fs.texts = append(fs.texts, f)
			isText, fs.fixed = true, f == filterHash
		case i == 0 && k.form == formTime && isLayout(name):
			fs.layout, fs.fixed, isText = name, isFixedLayout(name), true
		default:
			return fs, fmt.Errorf("there is no filter %q for %s: %s", name, k.typ, knownFilters)
		}
	}
	return fs, nil
}

func (fs *keyFilters) any() bool { return fs.layout != "" || fs.texts != nil }

// plainText gives the text that the filters begin with, of a value that is not nil and needs no reflection.
func (fs *keyFilters) plainText(k *keyType, value keyRef) (string, error) {
	switch {
	case k.form == formString:
		return value.string(), nil
	case k.form == formBytes:
		return strings.Clone(value.bytes()), nil
	case fs.layout != "":
		b, err := appendTime(nil, value.time(), fs.layout)
		return string(b), err
	}
	b, err := k.appendPlain(nil, value, lastPlace)
	return string(b), err
}

// anyText is plainText for a value that needs reflection.
func (fs *keyFilters) anyText(k *keyType, value keyRef) (string, error) {
	if k.form == formText {
		return k.marshalText(value)
	}
	b, err := k.appendAny(nil, value, 0, lastPlace)
	return string(b), err
}

// append runs the filters over text and appends the result.
func (fs *keyFilters) append(b []byte, text string, place *keyPlace) []byte {
	for _, f := range fs.texts {
		text = f.run(text)
	}
	if fs.fixed {
		return append(b, text...)
	}
	return place.appendText(b, text)
}

func (f keyFilter) run(text string) string {
	switch f {
	case filterHash:
		sum := sha256.Sum256([]byte(text))
		return hex.EncodeToString(sum[:16])
	case filterLower:
		return strings.ToLower(text)
	case filterUpper:
		return strings.ToUpper(text)
	default:
		return strings.TrimSpace(text)
	}
}

// isLayout says whether some part of layout stands for a part of a time.
func isLayout(layout string) bool {
	one := time.Date(1987, time.May, 27, 3, 19, 41, 123456789, time.UTC)
	two := time.Date(2034, time.October, 8, 16, 52, 7, 987654321, time.UTC)
	return one.Format(layout) != two.Format(layout)
}

// isFixedLayout says whether all texts of layout, in UTC and for years of four digits, are of one length.
func isFixedLayout(layout string) bool {
	for layout != "" {
		switch {
		case strings.HasPrefix(layout, "2006"):
			layout = layout[4:]
		case isFixedPart(layout):
			layout = layout[2:]
		case strings.IndexByte("-:/T", layout[0]) >= 0:
			layout = layout[1:]
		default:
			return false
		}
	}
	return true
}

// isFixedPart says whether layout begins with a part of two digits.
func isFixedPart(layout string) bool {
	if len(layout) < 2 {
		return false
	}
	switch layout[:2] {
	case "01", "02", "03", "04", "05", "06", "15":
		return true
	}
	return false
}
