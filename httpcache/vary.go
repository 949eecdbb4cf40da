package httpcache

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxVaryNames is how many headers an answer may depend on and still be stored.
const maxVaryNames = 8

// A selector is a hash of the request headers that answers of a URL vary by: SHA-256, as it must not give away a cookie and no
// two must be one. The zero selector is that of answers that do not vary.
type selector [sha256.Size]byte

// varyNames gives the request headers that a response depends on, sorted. reusable is false for "*", and for what is no list
// of names. Who encodes the content depends on Accept-Encoding, whether or not the response says so.
func varyNames(h http.Header) (names []string, reusable bool) {
	names, reusable = parseNames(h["Vary"])
	if len(h["Content-Encoding"]) > 0 {
		names = addOnce(names, "Accept-Encoding")
	}
	slices.Sort(names)
	return names, reusable && len(names) <= maxVaryNames && !slices.Contains(names, "*")
}

// unionNames gives the sorted names of both lists.
func unionNames(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// selectorOf hashes what r has for names: each line with its length, and how many there are, so that no value can pass for
// another header's.
func selectorOf(names []string, r *http.Request) (s selector) {
	if len(names) == 0 {
		return s
	}
	var b []byte
	for _, name := range names {
		lines := r.Header[name]
		if name == "Host" {
			lines = []string{r.Host}
		}
		b = appendSized(b, name)
		b = binary.AppendUvarint(b, uint64(len(lines)))
		for _, line := range lines {
			b = appendSized(b, normalSelecting(name, line))
		}
	}
	return sha256.Sum256(b)
}

func appendSized(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// normalSelecting removes white space around commas and semicolons where it is known to mean nothing (RFC 9111, section 4.1).
// Nothing else is rewritten: handlers compare case and order.
func normalSelecting(name, value string) string {
	switch name {
	case "Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language":
	default:
		return value
	}
	if !strings.ContainsAny(value, " \t") || strings.Contains(value, `"`) {
		return value
	}
	elements := strings.Split(value, ",")
	for i, element := range elements {
		parts := strings.Split(element, ";")
		for j, part := range parts {
			parts[j] = trimOWS(part)
		}
		elements[i] = strings.Join(parts, ";")
	}
	return strings.Join(elements, ",")
}

// The first answer of a URL is stored under the URL's own key. It tells what answers vary by. Those for other values are
// stored in a fixed number of places, of which each selector has two to choose from: so the number of variants is bounded
// without anything to be counted, and who finds both places taken is served by the handler.

// places gives the keys at which the variant with the selector may be. n is the number of places of the URL.
func (s selector) places(primary key, n int) [2]key {
	h := sha256.New()
	h.Write(s[:])
	h.Write(appendSized(nil, primary.Path))
	h.Write([]byte(primary.Rest))
	sum := h.Sum(nil)
	first := binary.BigEndian.Uint64(sum) % uint64(n)
	second := binary.BigEndian.Uint64(sum[8:]) % uint64(n)
	if first == second {
		second = (first + 1) % uint64(n)
	}
	return [2]key{primary.variant(first), primary.variant(second)}
}

func (k key) variant(n uint64) key { return k.with("@variant=" + strconv.FormatUint(n, 10)) }
