package cachify

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCompressShrinks(t *testing.T) {
	c := Compress(JSON())
	random := make([]byte, 2*DefaultCompressFrom)
	rand.NewChaCha8([32]byte{1}).Read(random)
	for _, tt := range []struct {
		v        any
		mark     byte
		min, max int
	}{
		{ptr("short"), markPlain, 8, 8},
		{ptr(strings.Repeat("x", DefaultCompressFrom-3)), markPlain, DefaultCompressFrom, DefaultCompressFrom}, // 1 byte under the threshold
		{ptr(strings.Repeat("x", DefaultCompressFrom-2)), markDeflate, 10, 100},
		{ptr(strings.Repeat("user@example.org, ", 10_000)), markDeflate, 100, 10_000},
		{&random, markDeflate, 2048, 2800}, // base64
	} {
		data, err := c.Append(nil, "", tt.v)
		if err != nil || data[0] != tt.mark || len(data) < tt.min || len(data) > tt.max {
			t.Errorf("%.20v becomes %d bytes with the mark %d, %v", tt.v, len(data), data[0], err)
		}
		expectRoundTrip(t, c, tt.v)
	}
	data, err := Compress(MsgPack()).Append(nil, "", &random)
	if err != nil || data[0] != markPlain || len(data) != len(random)+4 {
		t.Errorf("what can't be compressed becomes %d bytes with the mark %d, %v", len(data), data[0], err)
	}
}

// deflated is data as Compress writes it, but of any claimed length.
func deflated(claim uint64, data []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(data)
	w.Close()
	return append(binary.AppendUvarint([]byte{markDeflate}, claim), b.Bytes()...)
}

func TestCompressRefuses(t *testing.T) {
	plain, err := MsgPack().Append(nil, "", ptr(strings.Repeat("x", 5000)))
	if err != nil {
		t.Fatal(err)
	}
	c := Compress(nil)
	if err := c.Decode(deflated(uint64(len(plain)), plain), "", new(string)); err != nil {
		t.Fatalf("what is right is refused: %v", err)
	}
	whole := deflated(uint64(len(plain)), plain)
	for name, data := range map[string][]byte{
		"nothing": {}, "unknown mark": append([]byte{2}, plain...), "no length": {markDeflate}, "endless length": {markDeflate, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"one less": deflated(uint64(len(plain)-1), plain), "one more": deflated(uint64(len(plain)+1), plain),
		"claims 4 GiB": deflated(4<<30, plain), "claims more than deflate can": deflated(uint64(maxRatio*len(plain)), plain),
		"left over": append(bytes.Clone(whole), 0), "cut": whole[:len(whole)-2], "no stream": {markDeflate, 10, 1, 2, 3},
		"plain, left over": append(append([]byte{markPlain}, plain...), 0),
	} {
		if err := c.Decode(data, "", new(string)); err == nil || !strings.HasPrefix(err.Error(), "cachify: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCompressDoubtsLengths(t *testing.T) {
	for n, stream := range map[uint64]int{maxRatio*10 + 1: 10, maxPlain + 1: 600_000, 1 << 63: 10} {
		data := append(binary.AppendUvarint([]byte{markDeflate}, n), make([]byte, stream)...)
		if err := Compress(nil).Decode(data, "", new(string)); err == nil || !strings.Contains(err.Error(), "not to be believed") {
			t.Errorf("a length of %d: %v", n, err)
		}
	}
}

// The densest stream that deflate has is accepted, and no more is allocated than it really holds.
func TestCompressedBomb(t *testing.T) {
	zeros, err := MsgPack().Append(nil, "", ptr(make([]byte, 8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	bomb := deflated(uint64(len(zeros)), zeros)
	if err := Compress(nil).Decode(bomb, "", new([]byte)); err != nil {
		t.Errorf("%d bytes from %d: %v", len(zeros), len(bomb), err)
	}
	lie := deflated(8<<20, []byte("x"))
	lie = append(lie, make([]byte, 10_000)...) // long enough for the claim to be possible
	if n := allocated(func() { _ = Compress(nil).Decode(lie, "", new([]byte)) }); n > 1<<20 {
		t.Errorf("%d bytes are allocated for a stream of one", n)
	}
}

func TestCompressManySizes(t *testing.T) {
	c := Compress(nil)
	for n := 1; n < 1<<21; n = n*3/2 + 1 {
		v := make([]byte, n)
		rand.NewChaCha8([32]byte{}).Read(v[:n/2])
		t.Run(fmt.Sprint(n), func(t *testing.T) { expectRoundTrip(t, c, &v) })
	}
}

func TestCompressFrom(t *testing.T) {
	text := ptr(strings.Repeat("x", 100)) // and two bytes of JSON
	for from, mark := range map[int]byte{-1: markDeflate, 0: markDeflate, 102: markDeflate, 103: markPlain, 1 << 30: markPlain} {
		for _, c := range []Codec{CompressFrom(JSON(), from), CompressFrom(Compress(JSON()), from), Compress(CompressFrom(JSON(), from))} {
			data, err := c.Append(nil, "", text)
			if err != nil || data[0] != mark || c.Name() != "deflate+json" {
				t.Errorf("from %d, %s: mark %d, %v", from, c.Name(), data[0], err)
			}
			var got string
			if err := Compress(JSON()).Decode(data, "", &got); err != nil || got != *text {
				t.Errorf("what was written from %d is read as %q, %v", from, got, err)
			}
		}
	}
	for _, v := range []any{ptr(""), ptr("y")} {
		expectRoundTrip(t, CompressFrom(nil, 0), v)
	}
}
