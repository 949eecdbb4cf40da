package keytemplate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A use is what a template is for.
type use int

const (
	ofKey use = iota
	ofTag
)

// A keyProgram is a template bound to a type: what to append, step by step, to make a key.
type keyProgram struct {
	source   string
	steps    []keyStep
	tail     string // the literal after the last placeholder
	pointers int    // from K to its struct; none of them may be nil
	reflects bool   // some step needs reflection
	use      use
}

// A keyStep appends a literal and the text of one value.
type keyStep struct {
	literal string
	name    string    // the placeholder as written, for errors
	hops    []uintptr // offsets of the pointers on the way from the struct to the one that holds the value
	offset  uintptr   // of the value in there
	typ     *keyType
	place   *keyPlace
	filters keyFilters
	direct  bool // no pointer on the way, no nil, no filter
}

// A keyBinder holds what newKeyProgram has learnt so far.
type keyBinder struct {
	keyProgram
	root      reflect.Type // the struct of the arguments, if they are one
	mentioned keyMentions
}

// keyMentions is a tree of the fields that placeholders mention, by their index.
type keyMentions struct {
	whole  bool // the field itself is mentioned, and with it all that it holds
	fields map[int]*keyMentions
}

func (m *keyMentions) field(index int) *keyMentions {
	if m.fields == nil {
		m.fields = map[int]*keyMentions{}
	}
	if m.fields[index] == nil {
		m.fields[index] = &keyMentions{}
	}
	return m.fields[index]
}

// newKeyProgram binds text to the type of arguments. All that the arguments tell must be in a key.
func newKeyProgram(text string, args reflect.Type, use use) (keyProgram, error) {
	b := keyBinder{keyProgram: keyProgram{source: text, use: use}}
	strict := use == ofKey
	segments, tail, err := parseTemplate(text)
	if err != nil {
		return keyProgram{}, err
	}
	b.tail = tail
	if root, pointers, ok := structBehind(args); ok {
		b.root, b.pointers = root, pointers
		err = b.bindStruct(segments, strict)
	} else {
		err = b.bindScalar(segments, args, strict)
	}
	return b.keyProgram, err
}

func (p *keyProgram) fail(placeholder string, err error) error {
	return &Error{Template: p.source, Placeholder: placeholder, Err: err}
}

// bindScalar binds the one placeholder of a template over a type without fields.
func (b *keyBinder) bindScalar(segments []keySegment, t reflect.Type, strict bool) error {
	if len(segments) > 1 {
		return b.fail(segments[1].inner, fmt.Errorf("the arguments are one %s: keep one placeholder, or make them a struct", t))
	}
	if len(segments) == 0 {
		if strict {
			return b.fail("", fmt.Errorf("it never mentions the argument (%s), so all calls would share a key: add a placeholder, such as %s-<%s>",
				t, b.source, suggestedName(t)))
		}
		return nil
	}
	if len(segments[0].path) > 1 {
		return b.fail(segments[0].inner, fmt.Errorf("the arguments are one %s, which has no fields to reach into: write <%s>", t, segments[0].path[0]))
	}
	return b.addStep(keyStep{}, segments, 0, t)
}

// bindStruct binds placeholders to the fields of the root struct.
func (b *keyBinder) bindStruct(segments []keySegment, strict bool) error {
	if _, err := keyFields(b.root); err != nil {
		return b.fail("", err)
	}
	for i, s := range segments {
		way, err := resolvePath(b.root, s.path)
		if err != nil {
			return b.fail(s.inner, err)
		}
		mention := &b.mentioned
		for _, f := range way {
			mention = mention.field(f.index)
		}
		mention.whole = true
		hops, offset := layoutOf(way)
		if err := b.addStep(keyStep{hops: hops, offset: offset}, segments, i, way[len(way)-1].typ); err != nil {
			return err
		}
	}
	if strict {
		return b.checkMentioned(b.root, &b.mentioned, nil)
	}
	return nil
}

// addStep completes and adds the step of segments[i], whose value is of type t.
func (b *keyBinder) addStep(step keyStep, segments []keySegment, i int, t reflect.Type) error {
	s := segments[i]
	typ, err := keyTypeOf(t)
	if err != nil {
		return b.fail(s.inner, err)
	}
	filters, err := bindFilters(s.filters, typ)
	if err != nil {
		return b.fail(s.inner, err)
	}
	follows := ""
	if i+1 < len(segments) {
		follows = segments[i+1].literal
	}
	step.literal, step.name, step.typ, step.filters, step.place = s.literal, s.inner, typ, filters, newKeyPlace(follows)
	if b.use == ofTag {
		step.place = tagPlace
	}
	step.direct = len(step.hops) == 0 && !typ.nilable && !filters.any()
	b.steps = append(b.steps, step)
	b.reflects = b.reflects || typ.reflects()
	return nil
}

// resolvePath finds the way from struct t to the field that path names.
func resolvePath(t reflect.Type, path []string) ([]keyField, error) {
	var way []keyField
	for i, name := range path {
		found, err := findKeyField(t, name)
		if err != nil {
			return nil, err
		}
		way = append(way, found...)
		if i+1 == len(path) {
			break
		}
		last := way[len(way)-1].typ
		inner, _, ok := structBehind(last)
		if !ok {
			return nil, fmt.Errorf("%s has no fields to reach into: write <%s>", last, strings.Join(path[:i+1], "."))
		}
		t = inner
	}
	return way, nil
}

// layoutOf gives where the last field of way is in memory: the pointers to follow, and an offset in what the last
// one points to.
func layoutOf(way []keyField) (hops []uintptr, offset uintptr) {
	for i, f := range way {
		offset += f.offset
		if i+1 == len(way) {
			break
		}
		for t := f.typ; t.Kind() == reflect.Pointer; t = t.Elem() {
			hops, offset = append(hops, offset), 0
		}
	}
	return hops, offset
}

// checkMentioned gives an error for the first field of struct t that is neither mentioned nor excluded. way leads to t.
func (b *keyBinder) checkMentioned(t reflect.Type, mentions *keyMentions, way []keyField) error {
	fields, err := keyFields(t)
	if err != nil {
		return b.fail("", err)
	}
	for _, f := range fields {
		mention := mentions.fields[f.index]
		if f.excluded || mention != nil && mention.whole {
			continue
		}
		to := append(way[:len(way):len(way)], f)
		if mention == nil && !f.promotes {
			return b.unmentioned(to)
		}
		inner, pointers, _ := structBehind(f.typ)
		if mention == nil {
			// Name the promoted field that is missing rather than the struct, unless there is none to name.
			if pointers > 0 {
				return b.unmentioned(to)
			}
			mention = &keyMentions{}
		}
		if err := b.checkMentioned(inner, mention, to); err != nil {
			return err
		}
	}
	return nil
}

// unmentioned says how to mend that the field at the end of way is missing.
func (b *keyBinder) unmentioned(way []keyField) error {
	f, name := way[len(way)-1], b.shortest(way)
	if _, err := keyTypeOf(f.typ); err != nil {
		return b.fail(name, fmt.Errorf("the exported field %s can't be in a key (%w): exclude it with the tag key:\"-\"", f.goName, err))
	}
	return b.fail(name, fmt.Errorf("the template never mentions the exported field %s, so calls that differ in it alone would share a key: add <%s>, or exclude the field with the tag key:\"-\"",
		f.goName, name))
}

// shortest gives the path of the field at the end of way, without the embedded structs on it where that is enough.
func (b *keyBinder) shortest(way []keyField) string {
	path := make([]string, 0, len(way))
	for i, f := range way {
		if i+1 == len(way) || !f.promotes {
			path = append(path, f.name)
		}
	}
	found, err := resolvePath(b.root, path)
	if err != nil || !slices.EqualFunc(found, way, func(x, y keyField) bool { return x.index == y.index }) {
		return dotted(way)
	}
	return strings.Join(path, ".")
}
