package keytemplate

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A keySegment is a placeholder and the literal text before it.
type keySegment struct {
	literal string
	inner   string   // the placeholder as written between < and >
	path    []string // a, b of <a.b|lower|hash>
	filters []string // lower, hash
}

// parseTemplate splits text into its placeholders and the literal after the last one. << and >> stand for < and >
// in literals.
func parseTemplate(text string) (segments []keySegment, tail string, err error) {
	fail := func(placeholder string, err error) ([]keySegment, string, error) {
		return nil, "", &Error{Template: text, Placeholder: placeholder, Err: err}
	}
	if text == "" {
		return fail("", errors.New("it is empty: give the keys a name, such as \"read_user-<user_id>\""))
	}
	if !utf8.ValidString(text) {
		return fail("", errors.New("it is not valid UTF-8"))
	}
	var literal strings.Builder
	for rest := text; rest != ""; {
		i := strings.IndexAny(rest, "<>")
		if i < 0 {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(rest[:i])
		if i+1 < len(rest) && rest[i+1] == rest[i] {
			literal.WriteByte(rest[i])
			rest = rest[i+2:]
			continue
		}
		if rest[i] == '>' {
			return fail("", fmt.Errorf("a > without a < before %q: write >> for a literal >", rest[i:]))
		}
		inner, after, closed := strings.Cut(rest[i+1:], ">")
		if !closed || strings.Contains(inner, "<") {
			return fail("", fmt.Errorf("%q is never closed: add a >, or write << for a literal <", rest[i:]))
		}
		segment, err := parsePlaceholder(inner)
		if err != nil {
			return fail(inner, err)
		}
		segment.literal = literal.String()
		if segment.literal == "" && len(segments) > 0 {
			before := segments[len(segments)-1].inner
			return fail(inner, fmt.Errorf("nothing parts it from <%s>: put a literal between them, such as <%s>-<%s>", before, before, inner))
		}
		segments = append(segments, segment)
		literal.Reset()
		rest = after
	}
	return segments, literal.String(), nil
}

// parsePlaceholder splits the text between < and > into a path and filters.
func parsePlaceholder(inner string) (keySegment, error) {
	path, filters, filtered := strings.Cut(inner, "|")
	s := keySegment{inner: inner, path: strings.Split(path, ".")}
	for _, name := range s.path {
		if name == "" {
			return s, errors.New("a name is missing: write <field>, <field.inner> or <field|filter>")
		}
		if !isKeyName(name) {
			return s, fmt.Errorf("%q is not a name: names are made of letters, digits, _ and -", name)
		}
	}
	if !filtered {
		return s, nil
	}
	s.filters = strings.Split(filters, "|")
	for _, name := range s.filters {
		if name == "" {
			return s, fmt.Errorf("a filter is missing after |: %s", knownFilters)
		}
	}
	return s, nil
}
