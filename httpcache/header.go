package httpcache

import (
	"net/http"
	"slices"
	"sort"
	"strings"
)

// neverStored says of headers that they belong to one connection, one request or one cache (RFC 9111, section 3.1). Age is made
// anew, and so is Date where there is none.
func neverStored(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Age", "Content-Length":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// fieldsOf gives the fields of h that the handler has set, sorted by name: those that are not in outer, what h had before the
// handler. without are names to leave out besides. ok is false if a field is none: it can't be sent either.
func fieldsOf(h, outer http.Header, without []string) (fields []field, ok bool) {
	out := slices.Concat(without, connectionNames(h))
	for name, values := range h {
		before, had := outer[name]
		if neverStored(name) || slices.Contains(out, name) || had && slices.Equal(before, values) {
			continue
		}
		if len(values) == 0 && !had && name != "Content-Type" && name != "Date" {
			continue // says something only of headers that net/http would set
		}
		f := field{name: name, values: slices.Clone(values)}
		if n := len(before); n > 0 && len(values) > n && slices.Equal(values[:n], before) {
			f.values, f.add = f.values[n:], true
		}
		if !isToken(name) || http.CanonicalHeaderKey(name) != name || slices.ContainsFunc(values, func(v string) bool { return !isFieldValue(v) }) {
			return nil, false
		}
		fields = append(fields, f)
	}
	for name := range outer {
		if _, still := h[name]; !still && !neverStored(name) && !slices.Contains(out, name) {
			fields = append(fields, field{name: name})
		}
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].name < fields[j].name })
	return fields, len(fields) <= maxStoredFields
}

// connectionNames gives the names that Connection lists: those headers are for this connection too.
func connectionNames(h http.Header) []string {
	if len(h["Connection"]) == 0 {
		return nil
	}
	names, _ := parseNames(h["Connection"])
	return names
}

// notUpdated are headers that belong to the stored body, so that a 304 does not change them (RFC 9111, section 3.2).
func notUpdated(name string) bool {
	switch name {
	case "Content-Encoding", "Content-Range", "Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Etag":
		return true
	}
	return false
}

// updated gives the fields of a stored answer with those of a 304 in their place.
func updated(stored, fields []field) []field {
	merged := slices.Clone(stored)
	for _, f := range fields {
		if notUpdated(f.name) {
			continue
		}
		i := slices.IndexFunc(merged, func(have field) bool { return have.name == f.name })
		if i < 0 {
			merged = append(merged, f)
		} else {
			merged[i] = f
		}
	}
	return merged
}

// restore makes h what it was, as before holds it.
func restore(h, before http.Header) {
	clear(h)
	for name, values := range before {
		h[name] = values
	}
}
