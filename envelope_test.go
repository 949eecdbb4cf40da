package cachify

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// exampleEnvelope is the one of docs/wire-format.md.
func exampleEnvelope() *envelope {
	e := &envelope{
		flags: flagValue, created: 1_767_323_045_000_006, softExpiry: 1_767_323_345_000_006, loadTime: 1500 * time.Microsecond,
		stamp: 1_767_323_044_000_000, fingerprint: 0x0123456789abcdef, tags: []string{"users", "org-7"}, payload: []byte{0x81, 0xa4, 'N', 'a', 'm', 'e', 0xa3, 'A', 'n', 'n'},
	}
	for i := range e.id {
		e.id[i] = byte(0xf0 + i)
	}
	return e
}

// wireFormatExamples gives the examples of docs/wire-format.md. Their rows are an offset and bytes, in hex, and what they are.
func wireFormatExamples(t *testing.T) (examples [][]byte) {
	doc, err := os.ReadFile("docs/wire-format.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(doc), "```hex\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		var data []byte
		for line := range strings.Lines(block) {
			offset, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			digits, _, _ := strings.Cut(strings.TrimSpace(rest), "  ")
			row, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if want := hex.EncodeToString([]byte{byte(len(data))}); offset != want {
				t.Errorf("the row of offset %s is at %s", want, offset)
			}
			data = append(data, row...)
		}
		examples = append(examples, data)
	}
	return examples
}

func TestWireFormatExamples(t *testing.T) {
	examples := wireFormatExamples(t)
	if len(examples) != 2 {
		t.Fatalf("docs/wire-format.md has %d examples", len(examples))
	}
	data, e := examples[0], exampleEnvelope()
	if want := e.bytes(); !bytes.Equal(data, want) {
		t.Errorf("the example is\n%x, and the code gives\n%x", data, want)
	}
	encoded, err := e.encode(MsgPack(), "key", &struct{ Name string }{"Ann"})
	if err != nil || !bytes.Equal(encoded, data) {
		t.Errorf("the example is\n%x, and of its value becomes\n%x, %v", data, encoded, err)
	}
	if got, ok := parseEnvelope(data); !ok || !reflect.DeepEqual(got, *e) {
		t.Errorf("the example is read as %+v, %v", got, ok)
	}
	at := time.Date(2026, 7, 2, 3, 4, 5, 6, locationNamed("Europe/Berlin"))
	if encoded, err := MsgPack().Append(nil, "key", &at); err != nil || !bytes.Equal(encoded, examples[1]) {
		t.Errorf("the example is\n%x, and of its value becomes\n%x, %v", examples[1], encoded, err)
	}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := envelope{
			flags:   rapid.SampledFrom([]byte{flagValue, flagLease, flagNegative, flagValue | flagNegative}).Draw(t, "flags"),
			created: rapid.Int64().Draw(t, "created"), softExpiry: rapid.Int64().Draw(t, "softExpiry"),
			loadTime: time.Duration(rapid.Int64().Draw(t, "loadTime")), stamp: rapid.Int64().Draw(t, "stamp"), fingerprint: rapid.Uint64().Draw(t, "fingerprint"),
			tags:    rapid.SliceOfN(rapid.StringN(0, -1, 300), 0, 5).Draw(t, "tags"),
			payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload"),
			id:      newID(),
		}
		if len(e.tags) == 0 {
			e.tags = nil
		}
		data := e.bytes()
		if got, ok := parseEnvelope(data); !ok || !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v is read as %+v, %v", e, got, ok)
		}
		if !bytes.HasPrefix(data, e.head()) || len(e.head()) != headSize || !bytes.Equal(e.head(), headOf(e.id, e.flags)) {
			t.Fatalf("the head of %x is %x", data, e.head())
		}
		i := rapid.IntRange(0, 8*len(data)-1).Draw(t, "bit")
		data[i/8] ^= 1 << (i % 8)
		if got, ok := parseEnvelope(data); ok {
			t.Fatalf("with bit %d flipped it is read as %+v", i, got)
		}
	})
}

func TestParseEnvelopeRefuses(t *testing.T) {
	whole := exampleEnvelope().bytes()
	change := func(at int, b ...byte) []byte {
		data := bytes.Clone(whole)
		copy(data[at:], b)
		return seal2(data)
	}
	for name, data := range map[string][]byte{
		"nothing": nil, "text": []byte(strings.Repeat("x", 200)), "head": whole[:headSize], "one byte less": whole[:len(whole)-1],
		"one byte more":   append(bytes.Clone(whole), 0),
		"magic":           change(0, 0xca, 0xc0),
		"version":         change(2, 2),
		"no flags":        change(3, 0),
		"unknown flag":    change(3, flagValue|1<<7),
		"count of tags":   change(headerSize, 200),
		"4 Gi tags":       change(headerSize, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"length of tag":   change(headerSize+1, 200),
		"tags left over":  change(headerSize, 1),
		"endless uvarint": change(headerSize, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"lengths":         change(offTagsLen, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		if e, ok := parseEnvelope(data); ok || !reflect.DeepEqual(e, envelope{}) {
			t.Errorf("%s: is read as %+v, %v", name, e, ok)
		}
	}
	if _, ok := parseEnvelope(change(3, flagLease)); !ok {
		t.Error("a right checksum is not enough for what is right")
	}
}

// seal2 writes the checksum only.
func seal2(b []byte) []byte {
	sum := checksum(b)
	copy(b[offChecksum:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return b
}

func TestEnvelopeEncode(t *testing.T) {
	e := &envelope{flags: flagValue, id: newID(), tags: []string{"t"}}
	for _, n := range []int{0, 1, 1000, maxPooled, 3 * maxPooled} {
		v := strings.Repeat("x", n)
		first, err := e.encode(MsgPack(), "k", &v)
		if err != nil {
			t.Fatal(err)
		}
		kept := bytes.Clone(first)
		if _, err := e.encode(MsgPack(), "k", ptr(strings.Repeat("y", n))); err != nil || !bytes.Equal(first, kept) {
			t.Fatalf("an envelope of %d bytes was overwritten by the next: %v", n, err)
		}
		got, ok := parseEnvelope(first)
		var back string
		if err := MsgPack().Decode(got.payload, "k", &back); !ok || err != nil || back != v {
			t.Errorf("%d bytes come back as %d: %v, %v", n, len(back), ok, err)
		}
	}
	if data, err := e.encode(MsgPack(), "k", &codecFailing{"error"}); !errors.Is(err, errCodec) || data != nil {
		t.Errorf("gives %x, %v", data, err)
	}
	if data, err := e.encode(panickingCodec{}, "k", ptr(1)); err == nil || !strings.HasPrefix(err.Error(), "cachify: ") || data != nil {
		t.Errorf("gives %x, %v", data, err)
	}
}

type panickingCodec struct{ Codec }

func (panickingCodec) Append([]byte, string, any) ([]byte, error) { panic("boom") }

func TestParseEnvelopeAllocates(t *testing.T) {
	tagged, plain := exampleEnvelope(), exampleEnvelope()
	plain.tags = nil
	data := plain.bytes()
	if n := testing.AllocsPerRun(100, func() { parseEnvelope(data) }); n != 0 {
		t.Errorf("%v allocations without tags", n)
	}
	data = tagged.bytes()
	if n := testing.AllocsPerRun(100, func() { parseEnvelope(data) }); n > 2 {
		t.Errorf("%v allocations with tags", n)
	}
}

func TestIDsDiffer(t *testing.T) {
	seen := map[entryID]bool{{}: true}
	for range 10_000 {
		id := newID()
		if seen[id] {
			t.Fatalf("%x came twice", id)
		}
		seen[id] = true
	}
}
