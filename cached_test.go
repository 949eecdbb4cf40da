package cachify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func TestNewCachedErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	type args struct{ UserID, Page int }
	type options = cachify.CachedOptions
	fn := func(context.Context, args) (int, error) { return 0, nil }
	const good = "f-<user_id>-<page>"
	tests := []struct {
		name, template string
		fn             cachify.Func[args, int]
		opts           options
		want           string
		template2      string // of the TemplateError, if it is one
	}{
		{"nil function", good, nil, options{}, "the function is nil", ""},
		{"negative TTL", good, fn, options{TTL: -time.Second}, "CachedOptions.TTL", ""},
		{"negative jitter", good, fn, options{Jitter: -1}, "CachedOptions.Jitter", ""},
		{"large jitter", good, fn, options{Jitter: 1.01}, "CachedOptions.Jitter", ""},
		{"NaN jitter", good, fn, options{Jitter: math.NaN()}, "CachedOptions.Jitter", ""},
		{"infinite jitter", good, fn, options{Jitter: math.Inf(1)}, "CachedOptions.Jitter", ""},
		{"jitter of what does not expire", good, fn, options{TTL: cachify.NoExpiry, Jitter: 0.1}, "NoExpiry", ""},
		{"empty template", "", fn, options{}, "empty", ""},
		{"open template", "f-<user_id>-<page", fn, options{}, "never closed", "f-<user_id>-<page"},
		{"unknown placeholder", good + "-<nope>", fn, options{}, "nope", good + "-<nope>"},
		{"forgotten field", "f-<user_id>", fn, options{}, "Page", "f-<user_id>"},
		{"empty tag", good, fn, options{Tags: []string{"t", ""}}, "empty", ""},
		{"open tag", good, fn, options{Tags: []string{"t-<page"}}, "never closed", "t-<page"},
		{"unknown placeholder in a tag", good, fn, options{Tags: []string{"t-<nope>"}}, "nope", "t-<nope>"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, err := cachify.NewCached(c, test.template, test.fn, &test.opts)
			wantMessage(t, err, test.want)
			if f != nil {
				t.Error("a wrapper came with the error")
			}
			if te := (*cachify.TemplateError)(nil); test.template2 != "" && (!errors.As(err, &te) || te.Template != test.template2) {
				t.Errorf("%#v is no TemplateError for %q", err, test.template2)
			}
		})
	}
	t.Run("a value that can't be carried", func(t *testing.T) {
		_, err := cachify.NewCached(c, "f-<n>", func(context.Context, int) (chan int, error) { return nil, nil }, nil)
		wantMessage(t, err, "chan int")
	})
	t.Run("tags need not mention all of K", func(t *testing.T) {
		_, err := cachify.NewCached(c, good, fn, &options{Tags: []string{"all", "user-<user_id>"}})
		noError(t, err)
	})
}

func TestCached(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, &cachify.Options{Prefix: "app:"})
		calls := 0
		f := newCached(c, func(_ context.Context, n int) (string, error) {
			calls++
			return fmt.Sprintf("%d, call %d", n, calls), nil
		}, nil)
		get := func(call func(context.Context, int) (string, error), n int, want string) {
			t.Helper()
			v, err := call(ctx, n)
			noError(t, err)
			equal(t, "value", v, want)
		}
		peek := func(n int, want string) {
			t.Helper()
			v, ok, err := f.Peek(ctx, n)
			noError(t, err)
			equal(t, "there", ok, want != "")
			equal(t, "value", v, want)
		}
		key, err := f.Key(42)
		noError(t, err)
		equal(t, "key", key, "app:cached:f-42")

		peek(42, "")
		get(f.Get, 42, "42, call 1")
		get(f.Get, 42, "42, call 1")
		peek(42, "42, call 1")
		get(f.Get, 7, "7, call 2")
		noError(t, f.Reset(ctx, 42))
		noError(t, f.Reset(ctx, 42)) // nothing there is no error
		peek(42, "")
		get(f.Get, 42, "42, call 3")
		get(f.Refresh, 42, "42, call 4")
		get(f.Get, 42, "42, call 4")
		get(f.Refresh, 9, "9, call 5")
		get(f.Get, 9, "9, call 5")
		noError(t, f.Put(ctx, 42, "put"))
		get(f.Get, 42, "put")
		noError(t, f.Put(ctx, 11, "put, too"))
		peek(11, "put, too")
		many, err := f.GetMany(ctx, []int{11, 42, 7, 12})
		noError(t, err)
		equal(t, "GetMany", strings.Join(many, "; "), "put, too; put; 7, call 2; 12, call 6")
		noError(t, f.ResetAll(ctx))
		for _, n := range []int{7, 9, 11, 12, 42} {
			peek(n, "")
		}
		get(f.Get, 42, "42, call 7")
		peek(42, "42, call 7")
	})
}

type mutable struct {
	M map[string]int
	S []string
	B []byte
	P *int
}

func newMutable() mutable {
	n := 1
	return mutable{map[string]int{"a": 1}, []string{"a", "b"}, []byte("bytes"), &n}
}

func (m mutable) spoil() {
	m.M["a"], m.M["new"] = 99, 99
	m.S[0], m.B[0] = "spoilt", '!'
	*m.P = 99
}

func TestCallersCannotChangeWhatOthersGet(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here, there := newClient(t, store, nil), newClient(t, store, nil)
		begun, end := make(chan bool, 10), make(chan bool)
		fn := func(context.Context, int) (mutable, error) {
			begun <- true
			<-end
			return newMutable(), nil
		}
		f, g := newCached(here, fn, nil), newCached(there, fn, nil)
		check := func(who string, v mutable, err error) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(v, newMutable()) {
				t.Fatalf("%s got %+v, %v", who, v, err)
			}
			v.spoil()
		}

		calls := []<-chan result[mutable]{async(func() (mutable, error) { return f.Get(ctx, 1) })}
		receive(t, "the load", begun)
		for range 3 {
			calls = append(calls, async(func() (mutable, error) { return f.Get(ctx, 1) }), async(func() (mutable, error) { return g.Get(ctx, 1) }))
		}
		eventually(t, "all wait", func() bool { return here.Stats().Waits == 3 && there.Stats().Waits == 3 })
		close(end)
		for i, call := range calls {
			r := receive(t, "a value", call)
			check(fmt.Sprintf("caller %d of the load", i), r.value, r.err)
		}
		for range 2 {
			v, err := f.Get(ctx, 1)
			check("Get", v, err)
			v, _, err = f.Peek(ctx, 1)
			check("Peek", v, err)
			many, err := f.GetMany(ctx, []int{1})
			check("GetMany", many[0], err)
			v, err = f.Refresh(ctx, 1)
			check("Refresh", v, err)
		}
		v := newMutable()
		noError(t, f.Put(ctx, 1, v))
		v.spoil()
		v, err := g.Get(ctx, 1)
		check("Get after Put", v, err)
	})
}

func TestNilAndZeroValuesAreCached(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		cachedOnce(t, c, 0)
		cachedOnce(t, c, "")
		cachedOnce(t, c, false)
		cachedOnce(t, c, struct{}{})
		cachedOnce(t, c, time.Time{})
		cachedOnce[*int](t, c, nil)
		cachedOnce[*mutable](t, c, nil)
		cachedOnce[[]int](t, c, nil)
		cachedOnce(t, c, []int{})
		cachedOnce[map[string]int](t, c, nil)
		cachedOnce[any](t, c, nil)
		cachedOnce(t, c, mutable{})
	})
}

func cachedOnce[V any](t *testing.T, c *cachify.Client, value V) {
	t.Helper()
	ctx, calls := t.Context(), 0
	f := cachify.Must(cachify.NewCached(c, fmt.Sprintf("%v-%v", reflect.TypeFor[V](), reflect.ValueOf(&value).Elem().IsZero()),
		func(context.Context, struct{}) (V, error) { calls++; return value, nil }, nil))
	for range 3 {
		v, err := f.Get(ctx, struct{}{})
		if err != nil || !reflect.DeepEqual(v, value) {
			t.Errorf("%T: got %#v, %v, want %#v", value, v, err, value)
		}
	}
	if _, ok, err := f.Peek(ctx, struct{}{}); !ok || err != nil {
		t.Errorf("%T: Peek: %v, %v", value, ok, err)
	}
	if calls != 1 {
		t.Errorf("%#v: %d calls, want 1", value, calls)
	}
}

func TestErrorsAreNotCached(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx, calls, failure := t.Context(), 0, errors.New("no such row")
		f := newCached(newClient(t, store, nil), func(context.Context, int) (string, error) {
			if calls++; calls < 4 {
				return "half a value", failure
			}
			return "a value", nil
		}, nil)
		for name, call := range map[string]func(context.Context, int) (string, error){"Get": f.Get, "Refresh": f.Refresh} {
			_, err := call(ctx, 1)
			if err != failure { // it must be the very error
				t.Errorf("%s: error %v, want the function's own", name, err)
			}
		}
		_, err := f.GetMany(ctx, []int{1})
		wantError(t, err, failure)
		v, err := f.Get(ctx, 1)
		noError(t, err)
		equal(t, "value", v, "a value")
		equal(t, "calls", calls, 4)

		// An error of Refresh leaves the value in place.
		calls = 0
		_, err = f.Refresh(ctx, 1)
		wantError(t, err, failure)
		v, err = f.Get(ctx, 1)
		noError(t, err)
		equal(t, "value after Refresh failed", v, "a value")
	})
}

// A foreign type under the same template, as when a deploy changes V while old and new run together.
func TestEntriesOfAnotherTypeAreMisses(t *testing.T) {
	type before struct{ Name string }
	type after struct{ Name, Mail string }
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		loads := 0
		was := newCached(c, func(context.Context, int) (before, error) { loads++; return before{"Ann"}, nil }, nil)
		is := newCached(c, func(context.Context, int) (after, error) { loads++; return after{"Ann", "ann@example.org"}, nil }, nil)
		other := newCached(c, func(context.Context, int) (before, error) { loads++; return before{"Ann"}, nil },
			&cachify.CachedOptions{Codec: renamed{cachify.MsgPack()}})
		for range 2 {
			loads = 0
			v1, err := was.Get(ctx, 1)
			noError(t, err)
			equal(t, "old value", v1, before{"Ann"})
			_, ok, err := is.Peek(ctx, 1)
			noError(t, err)
			equal(t, "the old value is one of the new type", ok, false)
			v2, err := is.Get(ctx, 1)
			noError(t, err)
			equal(t, "new value", v2, after{"Ann", "ann@example.org"})
			many, err := was.GetMany(ctx, []int{1})
			noError(t, err)
			equal(t, "old value", many[0], before{"Ann"})
			_, ok, err = other.Peek(ctx, 1)
			noError(t, err)
			equal(t, "a value of another codec is there", ok, false)
			v1, err = other.Refresh(ctx, 1)
			noError(t, err)
			equal(t, "value of another codec", v1, before{"Ann"})
			equal(t, "loads", loads, 4)
		}
	})
}

// Nor do wrappers of different types share a load, with or without the store.
func TestWrappersOfAnotherTypeDoNotShareLoads(t *testing.T) {
	type before struct{ Name string }
	type after struct{ Name, Mail string }
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprint("store down ", down), func(t *testing.T) {
				ctx := t.Context()
				faulty := &faultyStore{Store: store}
				c := newClient(t, faulty, nil)
				p := newPuppet(t)
				was := newCached(c, func(ctx context.Context, n int) (before, error) { v, err := p.fn(ctx, n); return before{v}, err }, nil)
				is := newCached(c, func(context.Context, int) (after, error) { return after{"Ann", "ann@example.org"}, nil }, nil)
				noError(t, was.Reset(ctx, 1))
				if down {
					faulty.set(failing)
					for !c.Stats().BreakerOpen {
						_, _, _ = was.Peek(ctx, 1)
					}
				}
				old := async(func() (before, error) { return was.Get(ctx, 1) })
				r := p.next(t)
				young := async(func() (after, error) { return is.Get(ctx, 1) })
				if !down {
					eventually(t, "the other type waits for the lease", func() bool { return c.Stats().Waits == 1 })
				} else {
					gives(t, young, after{"Ann", "ann@example.org"})
				}
				r.returns("Ann")
				gives(t, old, before{"Ann"})
				if !down {
					gives(t, young, after{"Ann", "ann@example.org"})
				}
			})
		}
	})
}

// A renamed codec is one of another name.
type renamed struct{ cachify.Codec }

func (renamed) Name() string { return "another" }

// A value of this codec can't be decoded, for reasons that no checksum can know of.
type undecodable struct{ cachify.Codec }

func (undecodable) Decode([]byte, string, any) error { return errors.New("can't decode this") }

func TestGarbageIsAMissAndReplaced(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		loads := 0
		f := newCached(c, func(_ context.Context, n int) (string, error) { loads++; return fmt.Sprint("value ", n), nil }, nil)
		key, err := f.Key(1)
		noError(t, err)
		_, err = f.Get(ctx, 1)
		noError(t, err)
		values, _, err := store.Get(ctx, []string{key}, nil, nil)
		noError(t, err)
		good := values[0]

		garbage := map[string][]byte{"empty": {}, "short": []byte("x"), "text": []byte(strings.Repeat("text ", 50)), "zeros": make([]byte, 200)}
		for _, n := range []int{2, 20, len(good) / 2, len(good) - 1} {
			garbage[fmt.Sprint("cut to ", n)] = good[:n]
		}
		for i := range good {
			flipped := bytes.Clone(good)
			flipped[i] ^= 0x41
			garbage[fmt.Sprint("flipped at ", i)] = flipped
		}
		garbage["longer"] = append(bytes.Clone(good), 0)
		get := map[string]func() (string, error){
			"Get":     func() (string, error) { return f.Get(ctx, 1) },
			"Refresh": func() (string, error) { return f.Refresh(ctx, 1) },
			"GetMany": func() (string, error) { vs, err := f.GetMany(ctx, []int{1}); return vs[0], err },
			"Batch": func() (string, error) {
				vs, err := f.Batch(func(context.Context, []int) ([]string, error) { loads++; return []string{"value 1"}, nil }).GetMany(ctx, []int{1})
				return vs[0], err
			},
		}
		for name, data := range garbage {
			for how, get := range get {
				if strings.HasPrefix(name, "flipped") && how != "Get" {
					continue // these are many
				}
				_, _, err := store.Set(ctx, nil, []string{key}, [][]byte{data}, []time.Duration{time.Hour}, nil)
				noError(t, err)
				if _, ok, err := f.Peek(ctx, 1); ok || err != nil {
					t.Fatalf("%s: Peek: %v, %v", name, ok, err)
				}
				loads = 0
				if v, err := get(); v != "value 1" || err != nil || loads != 1 {
					t.Fatalf("%s: %s: %q, %v after %d loads", name, how, v, err, loads)
				}
				if v, err := f.Get(ctx, 1); v != "value 1" || err != nil || loads != 1 {
					t.Fatalf("%s: not replaced: %q, %v after %d loads", name, v, err, loads)
				}
			}
		}
	})
}

func TestValuesThatCannotBeDecodedAreMisses(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		var logged logBuffer
		c := newClient(t, store, &cachify.Options{Logger: logged.logger()})
		f := newCached(c, square, &cachify.CachedOptions{Codec: undecodable{cachify.MsgPack()}})
		for range 3 {
			v, err := f.Get(ctx, 3)
			noError(t, err)
			equal(t, "value", v, 9)
			_, ok, err := f.Peek(ctx, 3)
			noError(t, err)
			equal(t, "there", ok, false)
		}
		equal(t, "loads", c.Stats().Loads, 3)
		equal(t, "records in the log", logged.count("can't be decoded"), 1)
	})
}

func TestKeyOfAnotherRedisType(t *testing.T) {
	ctx := t.Context()
	rdb, _ := redistest.Mini(t)
	c := newClient(t, cachify.Redis(rdb), nil)
	f := newCached(c, square, nil)
	key, err := f.Key(3)
	noError(t, err)
	noError(t, rdb.RPush(ctx, key, "an element").Err())
	for range 10 {
		v, err := f.Get(ctx, 3)
		noError(t, err)
		equal(t, "value", v, 9)
	}
	if s := c.Stats(); s.Loads != 10 || s.BreakerOpen {
		t.Errorf("%+v: each Get should have loaded, with the breaker closed: the server answers", s)
	}
	noError(t, f.Reset(ctx, 3))
	for range 3 {
		_, err = f.Get(ctx, 3)
		noError(t, err)
	}
	equal(t, "loads", c.Stats().Loads, 11)
}
