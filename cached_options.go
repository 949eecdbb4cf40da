package cachify

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-cachify/cachify/internal/keykind"
)

// cachedKind is the kind of the keys of cached functions.
const cachedKind = "cached"

func init() {
	keykind.Of = func(opts any, name string) { opts.(*CachedOptions).kind = name }
}

// tagText is what the tag for ResetAll is made of. No template begins with a placeholder that has no name.
func (o *CachedOptions) tagText(template string) string {
	if o.kind == cachedKind {
		return template
	}
	return "<>" + o.kind + ":" + template
}

func (o *CachedOptions) check() error {
	errs := []error{checkTTL("CachedOptions.TTL", o.TTL), checkJitter("CachedOptions.Jitter", o.Jitter)}
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("cachify: CachedOptions."+format, args...))
	}
	needsEnd := func(name string, set bool) {
		if set && o.TTL == NoExpiry {
			add("%s needs a TTL that ends, and NoExpiry does not: leave out one of them", name)
		}
	}
	needsEnd("Jitter", o.Jitter > 0)
	needsEnd("RefreshAhead", o.RefreshAhead > 0)
	needsEnd("MaxStale", o.MaxStale > 0)
	needsEnd("TouchOnHit", o.TouchOnHit)
	notNegative := func(name string, d time.Duration) {
		if d < 0 {
			add("%s is %v: it must not be negative", name, d)
		}
	}
	notNegative("MaxStale", o.MaxStale)
	notNegative("SoftLoadTimeout", o.SoftLoadTimeout)
	notNegative("LoadTimeout", o.LoadTimeout)
	notNegative("NegativeTTL", o.NegativeTTL)
	if !(o.RefreshAhead >= 0 && o.RefreshAhead < 1) { // true for NaN
		add("RefreshAhead is %v: it must be a fraction from 0 to less than 1", o.RefreshAhead)
	}
	if o.SoftLoadTimeout > 0 && o.MaxStale == 0 {
		add("SoftLoadTimeout is for stale values, which there are none without MaxStale: set both or neither")
	}
	if o.SoftLoadTimeout > 0 && o.LoadTimeout > 0 && o.SoftLoadTimeout >= o.LoadTimeout {
		add("SoftLoadTimeout of %v must be shorter than LoadTimeout of %v", o.SoftLoadTimeout, o.LoadTimeout)
	}
	if o.TouchOnHit && (o.MaxStale > 0 || o.RefreshAhead > 0) {
		add("TouchOnHit keeps an entry from ageing, which MaxStale and RefreshAhead are about: leave out one of them")
	}
	if o.NegativeTTL > 0 && len(o.Negative) == 0 {
		add("NegativeTTL is set, but Negative lists no errors: set both or neither")
	}
	if o.MaxBytes < 0 {
		add("MaxBytes is %d: it must not be negative", o.MaxBytes)
	}
	return errors.Join(append(errs, checkNegative(o.Negative), o.Near.check("CachedOptions.Near"))...)
}

func (o *CachedOptions) setDefaults(client *Options) {
	if o.kind == "" {
		o.kind = cachedKind
	}
	if o.TTL == 0 {
		o.TTL = client.TTL
	}
	if o.Jitter == 0 && o.TTL != NoExpiry {
		o.Jitter = client.Jitter
	}
	if o.NegativeTTL == 0 {
		o.NegativeTTL = time.Minute
		if o.TTL != NoExpiry {
			o.NegativeTTL = min(o.NegativeTTL, o.TTL)
		}
	}
	if o.Codec == nil {
		o.Codec = client.Codec
	}
}
