package httpcache

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"
)

// Times to live, for Options.TTL and [SetTTL].
const (
	OneMinute = time.Minute
	OneHour   = time.Hour
	OneDay    = 24 * time.Hour
	OneWeek   = 7 * OneDay

	// Explicit as Options.TTL stores only answers that say themselves how long they are fresh. It is the default of [New];
	// in [Cache.With] it undoes the TTL of the cache.
	Explicit time.Duration = -1
)

const (
	// DefaultMaxBody is how long the body of a stored answer may be if Options.MaxBody does not say, in bytes.
	DefaultMaxBody = 1 << 20

	// DefaultHeader is the header that says Hit or Miss if Options.Header does not name another.
	DefaultHeader = "X-Cache"

	// DefaultName is what Cache-Status calls the cache if Options.Name does not say.
	DefaultName = "cachify"

	// DefaultKeep is how long stale answers are kept for revalidation if Options.Keep does not say.
	DefaultKeep = 10 * time.Minute

	// DefaultWait is how long an answer may take from its header to its end if Options.Wait does not say.
	DefaultWait = 5 * time.Second

	// DefaultMaxVariants is how many variants of a URL are stored if Options.MaxVariants does not say.
	DefaultMaxVariants = 64
)

// Options are the settings of a [Cache]. Nil, or a zero field, means the default; in [Cache.With] it means what the cache
// that is derived from has.
type Options struct {
	// TTL is how long an answer is stored that says nothing of its freshness itself, if its status is 200, 203, 204, 300,
	// 301 or 308. What a handler says, with [SetTTL], Cache-Control or Expires, comes first.
	// Default: [Explicit], such answers are not stored.
	TTL time.Duration

	// ClientTTL is how long clients may keep an answer that was stored for TTL or by [SetTTL] and has no Cache-Control or Expires
	// of its own. It is apart from TTL because no purge reaches browsers.
	// Default: 0, they ask each time, with the ETag (Cache-Control: no-cache).
	ClientTTL time.Duration

	// Header is the name of the header that says Hit or Miss.
	// Default: [DefaultHeader], X-Cache.
	Header string

	// Name is what the cache is called in Cache-Status (RFC 9211), a token.
	// Default: [DefaultName], cachify.
	Name string

	// MaxBody is how long the body of a stored answer may be, in bytes. Longer ones pass through, whole.
	// Default: [DefaultMaxBody], 1 MiB.
	MaxBody int

	// StaleWhileRevalidate is how long after it became stale an answer may still be used while a new one is made in the
	// background, if it has no stale-while-revalidate (RFC 5861) itself. must-revalidate, proxy-revalidate, s-maxage and no-cache forbid it.
	// Default: 0, not at all.
	StaleWhileRevalidate time.Duration

	// StaleIfError is how long after it became stale an answer may still be used if the handler answers 500, 502, 503 or
	// 504, if it has no stale-if-error (RFC 5861) itself. must-revalidate, proxy-revalidate, s-maxage and no-cache forbid it.
	// Default: 0, not at all.
	StaleIfError time.Duration

	// Keep is how long after it became stale an answer to which the handler gave an ETag or Last-Modified is kept, so that the
	// handler can say 304 instead of making it anew.
	// Default: [DefaultKeep], ten minutes.
	Keep time.Duration

	// Wait is how long an answer may take from its header to its end, for other requests wait for it. One that takes
	// longer goes on to its client and is not stored.
	// Default: [DefaultWait], five seconds.
	Wait time.Duration

	// MaxVariants bounds how many answers of one URL are stored that differ by request headers (Vary).
	// Default: [DefaultMaxVariants], 64.
	MaxVariants int

	// IgnoreParams are names of query parameters that make no difference. One that ends in * stands for all names that begin
	// so, as utm_* does. The handler does not see them in r.URL when its answer may be stored.
	// Default: none.
	IgnoreParams []string

	// KeyHeaders are request headers that are part of the key, such as X-Tenant. With Authorization or Cookie among them,
	// everybody's answers are stored apart, and the rules that protect these headers do not apply.
	// Default: none but the forwarding headers, which always are.
	KeyHeaders []string

	// Key gives more text for the key, such as the tenant that the request belongs to. It must be quick and safe for
	// concurrent use.
	// Default: none.
	Key func(r *http.Request) string

	// ShareCookies says that answers do not depend on the request's cookies. Without it, a request with a Cookie is neither
	// answered by, nor makes, an answer that is stored for TTL alone, without a word of the handler.
	// Default: false.
	ShareCookies bool

	// WeakETag makes the ETags that the cache generates weak. Say so if a middleware outside of the cache compresses.
	// Default: false, they are strong.
	WeakETag bool

	// Logger receives, at level Debug, what is stored, hit and purged; at level Warn, answers of the background that panicked, and
	// purges that failed; at level Error, options that can't be right.
	// Default: [slog.Default], asked at each use.
	Logger *slog.Logger

	keyID *byte // tells one Key from another
}

func (o *Options) check() error {
	errs := []error{
		notNegative("TTL", o.TTL, Explicit), notNegative("ClientTTL", o.ClientTTL, 0),
		notNegative("StaleWhileRevalidate", o.StaleWhileRevalidate, 0), notNegative("StaleIfError", o.StaleIfError, 0),
		notNegative("Keep", o.Keep, 0), notNegative("Wait", o.Wait, 0),
		notNegative("MaxBody", o.MaxBody, 0), notNegative("MaxVariants", o.MaxVariants, 0),
		checkToken("Header", o.Header), checkToken("Name", o.Name),
	}
	if c := o.Name; isToken(c) && !('a' <= c[0]|0x20 && c[0]|0x20 <= 'z') && c[0] != '*' {
		errs = append(errs, fmt.Errorf("cachify: httpcache: Options.Name %q must begin with a letter", c))
	}
	if name := http.CanonicalHeaderKey(o.Header); isToken(name) && (neverStored(name) || slices.Contains(ownHeaders, name)) {
		errs = append(errs, fmt.Errorf("cachify: httpcache: Options.Header is %s, which means something else: choose another name, such as X-MyAPI-Cache", name))
	}
	for _, name := range o.KeyHeaders {
		errs = append(errs, checkToken("KeyHeaders", name))
	}
	if slices.Contains(o.IgnoreParams, "") {
		errs = append(errs, errors.New(`cachify: httpcache: Options.IgnoreParams has an empty name: leave it out, or write "*" for all`))
	}
	return errors.Join(errs...)
}

// ownHeaders are those that the cache sets anyway.
var ownHeaders = []string{"Cache-Control", "Cache-Status", "Content-Range", "Content-Type", "Date", "Etag", "Expires", "Last-Modified", "Vary"}

func notNegative[T ~int | ~int64](name string, v, also T) error {
	if v >= 0 || v == also {
		return nil
	}
	return fmt.Errorf("cachify: httpcache: Options.%s is %v: it must not be negative", name, v)
}

func checkToken(field, s string) error {
	if isToken(s) {
		return nil
	}
	return fmt.Errorf("cachify: httpcache: Options.%s has %q: a name is made of letters, digits and hyphens", field, s)
}

func (o *Options) setDefaults() {
	*o = o.over(Options{
		TTL: Explicit, Header: DefaultHeader, Name: DefaultName, MaxBody: DefaultMaxBody, Keep: DefaultKeep,
		Wait: DefaultWait, MaxVariants: DefaultMaxVariants,
	})
}

// over returns o with base's settings where it has none.
func (o Options) over(base Options) Options {
	for _, pair := range [][2]*time.Duration{
		{&o.TTL, &base.TTL}, {&o.ClientTTL, &base.ClientTTL}, {&o.StaleWhileRevalidate, &base.StaleWhileRevalidate},
		{&o.StaleIfError, &base.StaleIfError}, {&o.Keep, &base.Keep}, {&o.Wait, &base.Wait},
	} {
		inherit(pair[0], *pair[1])
	}
	inherit(&o.Header, base.Header)
	inherit(&o.Name, base.Name)
	inherit(&o.MaxBody, base.MaxBody)
	inherit(&o.MaxVariants, base.MaxVariants)
	inherit(&o.ShareCookies, base.ShareCookies)
	inherit(&o.WeakETag, base.WeakETag)
	inherit(&o.Logger, base.Logger)
	if o.IgnoreParams == nil {
		o.IgnoreParams = base.IgnoreParams
	}
	if o.KeyHeaders == nil {
		o.KeyHeaders = base.KeyHeaders
	}
	if o.Key == nil {
		o.Key, o.keyID = base.Key, base.keyID
	} else {
		o.keyID = new(byte)
	}
	return o
}

func inherit[T comparable](v *T, base T) {
	var zero T
	if *v == zero {
		*v = base
	}
}

// canonical copies what callers could change, and writes names in one way.
func (o *Options) canonical() {
	o.Header = http.CanonicalHeaderKey(o.Header)
	o.IgnoreParams = slices.Clone(o.IgnoreParams)
	var names []string
	for _, name := range o.KeyHeaders {
		names = addOnce(names, http.CanonicalHeaderKey(name))
	}
	o.KeyHeaders = names
}

// keysAs says whether o and other make the same keys. Functions can't be compared.
func (o *Options) keysAs(other *Options) bool {
	return slices.Equal(o.IgnoreParams, other.IgnoreParams) && slices.Equal(o.KeyHeaders, other.KeyHeaders) && o.keyID == other.keyID
}

// keys says whether header is part of every key.
func (o *Options) keys(header string) bool { return slices.Contains(o.KeyHeaders, header) }

func (o *Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}
