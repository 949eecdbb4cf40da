package httpcache

import (
	"sync"
	"time"
)

// maxPassing bounds what passing remembers.
const maxPassing = 4096

// passing remembers URLs whose answers to clients with Authorization or cookies are for these alone: such requests need not wait
// for one another. It is hit-for-miss that is nobody else's concern, so it is kept in the process.
type passing struct {
	mu    sync.Mutex
	until map[key]time.Time
}

func (p *passing) add(k key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if len(p.until) >= maxPassing {
		for k, until := range p.until {
			if now.After(until) {
				delete(p.until, k)
			}
		}
	}
	if len(p.until) >= maxPassing || p.until == nil {
		p.until = make(map[key]time.Time)
	}
	p.until[k] = now.Add(passFor)
}

func (p *passing) has(k key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.until[k]
	return ok && time.Now().Before(until)
}
