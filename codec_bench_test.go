package cachify

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// benchUser takes about 200 bytes in MessagePack.
type benchUser struct {
	ID       int64
	Name     string
	Email    string
	Country  string
	Active   bool
	Score    float64
	Roles    []string
	Settings map[string]string
	Manager  *int64
}

type benchDated struct {
	benchUser
	Created, Updated time.Time
}

func newBenchUser() *benchUser {
	return &benchUser{
		ID: 42, Name: "Ann Example", Email: "ann.example@example.org", Country: "Germany", Active: true, Score: 99.5,
		Roles: []string{"admin", "author"}, Settings: map[string]string{"theme": "dark", "language": "de-DE"}, Manager: ptr(int64(7)),
	}
}

func newBenchDated() *benchDated {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return &benchDated{*newBenchUser(), at, at.Add(time.Hour)}
}

func benchmarkCodecs(b *testing.B) map[string]Codec {
	return map[string]Codec{"msgpack": MsgPack(), "json": JSON(), "deflate": Compress(nil), "aes-gcm": encrypting(b, nil)}
}

func BenchmarkEncode(b *testing.B) {
	user, dated := newBenchUser(), newBenchDated()
	b.Run("plain msgpack.Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := msgpack.Marshal(user); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain msgpack.Marshal, times", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := msgpack.Marshal(dated); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain json.Marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(user); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, c := range benchmarkCodecs(b) {
		b.Run(name, func(b *testing.B) { benchmarkAppend(b, c, user) })
		if name == "msgpack" {
			b.Run(name+", times", func(b *testing.B) { benchmarkAppend(b, c, dated) })
		}
	}
	b.Run("envelope of msgpack", func(b *testing.B) {
		e := envelope{flags: flagValue, id: newID()}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.encode(MsgPack(), "key", user); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmarkAppend(b *testing.B, c Codec, v any) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = c.Append(buf[:0], "key", v); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

func BenchmarkDecode(b *testing.B) {
	user, dated := newBenchUser(), newBenchDated()
	plain, _ := msgpack.Marshal(user)
	b.Run("plain msgpack.Unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var u benchUser
			if err := msgpack.Unmarshal(plain, &u); err != nil {
				b.Fatal(err)
			}
		}
	})
	plainDated, _ := msgpack.Marshal(dated)
	b.Run("plain msgpack.Unmarshal, times", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var u benchDated
			if err := msgpack.Unmarshal(plainDated, &u); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, c := range benchmarkCodecs(b) {
		b.Run(name, func(b *testing.B) { benchmarkDecode[benchUser](b, c, user) })
		if name == "msgpack" {
			b.Run(name+", times", func(b *testing.B) { benchmarkDecode[benchDated](b, c, dated) })
		}
	}
	data, _ := (&envelope{flags: flagValue, id: newID()}).encode(MsgPack(), "key", user)
	b.Run("parseEnvelope", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := parseEnvelope(data); !ok {
				b.Fatal("not parsed")
			}
		}
	})
}

func benchmarkDecode[V any](b *testing.B, c Codec, v *V) {
	data, err := c.Append(nil, "key", v)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var got V
		if err := c.Decode(data, "key", &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewID(b *testing.B) {
	for b.Loop() {
		newID()
	}
}
