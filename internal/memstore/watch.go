package memstore

// Watch returns a channel that receives at once, and then after each change of key by Set, Delete or Unlock.
func (s *Store) Watch(key string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.watchers == nil {
		sh.watchers = make(map[string]map[chan struct{}]struct{})
	}
	if sh.watchers[key] == nil {
		sh.watchers[key] = make(map[chan struct{}]struct{})
	}
	sh.watchers[key][ch] = struct{}{}
	return ch, func() { sh.unwatch(key, ch) }
}

func (sh *shard) unwatch(key string, ch chan struct{}) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	delete(sh.watchers[key], ch)
	if len(sh.watchers[key]) == 0 {
		delete(sh.watchers, key)
	}
}

// tell notifies those who watch key. It needs the shard's lock, after the change: who receives, sees it.
func (sh *shard) tell(key string) {
	for ch := range sh.watchers[key] {
		select {
		case ch <- struct{}{}:
		default: // it holds a notification that nobody has taken yet
		}
	}
}
