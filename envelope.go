package cachify

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// Offsets in an envelope, which docs/wire-format.md describes byte by byte.
const (
	envelopeMagic   = "\xca\xc1"
	envelopeVersion = 1

	offID         = 4
	headSize      = 20 // magic, version, flags and id: what the store compares
	offCreated    = headSize
	offSoftExpiry = 28
	offLoadTime   = 36
	offStamp      = 44
	offPrint      = 52
	offTagsLen    = 60
	offPayloadLen = 64
	offChecksum   = 68
	headerSize    = 72 // tags and payload follow
)

// What an entry is.
const (
	flagValue    = 1 << iota // the payload is a value
	flagLease                // somebody is loading; there is no payload
	flagNegative             // what was looked for does not exist

	knownFlags = flagValue | flagLease | flagNegative
)

// An entryID tells one lease or value from all others.
type entryID = [16]byte

// newID gives a random id: 128 bits of ChaCha8, which each process seeds for itself.
func newID() (id entryID) {
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

// An envelope is what a key of a cached function holds.
type envelope struct {
	flags       byte
	id          entryID
	created     int64 // microseconds since 1970
	softExpiry  int64 // microseconds since 1970, 0 is none
	loadTime    time.Duration
	stamp       int64 // the reset stamp when the load began
	fingerprint uint64
	tags        []string
	payload     []byte
}

// headOf gives the first bytes of an envelope, by which the store tells it from others.
func headOf(id entryID, flags byte) []byte {
	return appendHead(make([]byte, 0, headSize), id, flags)
}

func appendHead(b []byte, id entryID, flags byte) []byte {
	b = append(b, envelopeMagic...)
	b = append(b, envelopeVersion, flags)
	return append(b, id[:]...)
}

func (e *envelope) head() []byte { return headOf(e.id, e.flags) }

// A lease is the envelope of a load that is under way.
type lease []byte

func (l lease) id() entryID { return entryID(l[offID:headSize]) }

func (l lease) head() []byte { return l[:headSize:headSize] }

// bytes gives an envelope with e's payload.
func (e *envelope) bytes() []byte {
	return seal(append(e.appendHeader(make([]byte, 0, headerSize+len(e.payload))), e.payload...))
}

var envelopes = sync.Pool{New: func() any { return new([]byte) }}

// encode gives an envelope with what codec makes of the value that v points to. It is written in place, into a
// buffer that is used again, so that the only garbage is the result.
func (e *envelope) encode(codec Codec, key string, v any) (data []byte, err error) {
	defer recovered(&err, "encoding", v)
	buf := envelopes.Get().(*[]byte)
	b, err := codec.Append(e.appendHeader((*buf)[:0]), key, v)
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) > math.MaxUint32 {
		return nil, fmt.Errorf("cachify: the encoding of %T is longer than 4 GiB", v)
	}
	seal(b)
	if cap(b) > maxPooled {
		return b, nil
	}
	data = append(make([]byte, 0, len(b)), b...)
	*buf = b
	envelopes.Put(buf)
	return data, nil
}

// decode sets the value that v points to from the payload.
func (e *envelope) decode(codec Codec, key string, v any) (err error) {
	defer recovered(&err, "decoding", v)
	return codec.Decode(e.payload, key, v)
}

// appendHeader appends all that comes before the payload. Its length and the checksum are left to seal.
func (e *envelope) appendHeader(dst []byte) []byte {
	b := appendHead(dst, e.id, e.flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.created))
	b = binary.BigEndian.AppendUint64(b, uint64(e.softExpiry))
	b = binary.BigEndian.AppendUint64(b, uint64(e.loadTime))
	b = binary.BigEndian.AppendUint64(b, uint64(e.stamp))
	b = binary.BigEndian.AppendUint64(b, e.fingerprint)
	b = append(b, make([]byte, headerSize-offTagsLen)...)
	if len(e.tags) == 0 {
		return b
	}
	start := len(b)
	b = binary.AppendUvarint(b, uint64(len(e.tags)))
	for _, tag := range e.tags {
		b = binary.AppendUvarint(b, uint64(len(tag)))
		b = append(b, tag...)
	}
	binary.BigEndian.PutUint32(b[len(dst)+offTagsLen:], uint32(len(b)-start))
	return b
}

// seal completes an envelope that fills b with the length of its payload and the checksum.
func seal(b []byte) []byte {
	tags := binary.BigEndian.Uint32(b[offTagsLen:])
	binary.BigEndian.PutUint32(b[offPayloadLen:], uint32(len(b)-headerSize)-tags)
	binary.BigEndian.PutUint32(b[offChecksum:], checksum(b))
	return b
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the CRC-32C (RFC 3720) of an envelope without the checksum itself.
func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:offChecksum], castagnoli), castagnoli, b[headerSize:])
}

// parseEnvelope reads an envelope. It says false of all that is none, or is damaged, or is of another version. The
// payload is a part of data.
func parseEnvelope(data []byte) (e envelope, ok bool) {
	if len(data) < headerSize || string(data[:2]) != envelopeMagic || data[2] != envelopeVersion {
		return envelope{}, false
	}
	if e.flags = data[3]; e.flags == 0 || e.flags&^knownFlags != 0 {
		return envelope{}, false
	}
	tags := uint64(binary.BigEndian.Uint32(data[offTagsLen:]))
	payload := uint64(binary.BigEndian.Uint32(data[offPayloadLen:]))
	if headerSize+tags+payload != uint64(len(data)) || binary.BigEndian.Uint32(data[offChecksum:]) != checksum(data) {
		return envelope{}, false
	}
	copy(e.id[:], data[offID:])
	e.created = int64(binary.BigEndian.Uint64(data[offCreated:]))
	e.softExpiry = int64(binary.BigEndian.Uint64(data[offSoftExpiry:]))
	e.loadTime = time.Duration(binary.BigEndian.Uint64(data[offLoadTime:]))
	e.stamp = int64(binary.BigEndian.Uint64(data[offStamp:]))
	e.fingerprint = binary.BigEndian.Uint64(data[offPrint:])
	e.payload = data[headerSize+tags:]
	e.tags, ok = parseTags(string(data[headerSize : headerSize+tags]))
	if !ok {
		return envelope{}, false
	}
	return e, true
}

// parseTags reads a number of tags, each with its length before it. The tags share the memory of s.
func parseTags(s string) ([]string, bool) {
	if s == "" {
		return nil, true
	}
	n, s, ok := cutUvarint(s)
	if !ok || n > uint64(len(s)) { // each takes a byte at least
		return nil, false
	}
	tags := make([]string, 0, n)
	for range n {
		var size uint64
		if size, s, ok = cutUvarint(s); !ok || size > uint64(len(s)) {
			return nil, false
		}
		tags, s = append(tags, s[:size]), s[size:]
	}
	return tags, s == ""
}

// cutUvarint is [binary.Uvarint] for a string. It gives the rest of s too.
func cutUvarint(s string) (u uint64, rest string, ok bool) {
	for i := range min(len(s), binary.MaxVarintLen64) {
		u |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return u, s[i+1:], true
		}
	}
	return 0, "", false
}
