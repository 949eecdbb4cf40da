package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/go-cachify/cachify"
)

// The history in this file is one of claims: of three locks that are taken in all combinations, handed over and given
// fencing tokens, and of a semaphore. Its model is that of a store that does one thing at a time; only an Unlock of
// several keys may be done key by key.

const size = 2 // of the semaphore

// A claimInput is what one call asks. Keys are letters, of the locks a, b and c or of the semaphore s. A token ends in the
// keys that its holder has claimed, so that who reads it knows what to hand over and what to unlock.
type claimInput struct {
	call, keys  string
	token, from string
	fenced      bool
}

type claimOutput struct {
	ok      bool
	fence   int64
	holders string // for Holders, sorted
}

// A lockState is what is known of a lock: who has it, the last fencing token, whose it was, and whether it is that
// of the present holding.
type lockState struct {
	holder, last string
	fence        int64
	given        bool
}

type claimState struct {
	locks [3]lockState
	slots [size]string // the sorted tokens of the semaphore, empty ones first
}

var claimModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, 2)
		for _, op := range history {
			if op.Input.(claimInput).keys == "s" {
				parts[1] = append(parts[1], op)
			} else {
				parts[0] = append(parts[0], op)
			}
		}
		return parts
	},
	Init: func() any { return claimState{} },
	Step: func(state, in, out any) (bool, any) {
		s, i, o := state.(claimState), in.(claimInput), out.(claimOutput)
		var possible bool
		if i.keys == "s" {
			possible = s.stepSlots(i, o)
		} else {
			possible = s.stepLocks(i, o)
		}
		return possible, s
	},
}

// stepSlots says whether a call for the semaphore can give out, and changes s as it does.
func (s *claimState) stepSlots(in claimInput, out claimOutput) bool {
	mine, victim := slices.Index(s.slots[:], in.token), slices.Index(s.slots[:], in.from)
	defer func() { slices.Sort(s.slots[:]) }()
	switch in.call {
	case "Lock": // from is empty or that of a hand-over: either way its place is the one to take
		if mine < 0 && victim >= 0 {
			s.slots[victim] = in.token
		}
		return out.ok == (mine >= 0 || victim >= 0)
	case "Extend":
		return out.ok == (mine >= 0)
	case "Unlock":
		if mine >= 0 {
			s.slots[mine] = ""
		}
		return out.ok == (mine >= 0)
	default: // Holders
		return out.holders == strings.TrimSpace(strings.Join(s.slots[:], " "))
	}
}

func (s *claimState) stepLocks(in claimInput, out claimOutput) bool {
	all, some := true, false
	for _, key := range in.keys {
		holder := s.locks[key-'a'].holder
		all = all && (holder == in.token || in.call == "Lock" && holder == in.from)
		some = some || holder == in.token
	}
	switch in.call {
	case "Lock":
		if !out.ok {
			return !all || some && !s.holds(in.keys, in.token) // a holder that has lost a part need not get it back
		}
		if !all {
			return false
		}
		for _, key := range in.keys {
			if l := &s.locks[key-'a']; l.holder != in.token {
				l.holder, l.given = in.token, false
			}
		}
		return !in.fenced || s.stepFence(in, out)
	case "Fence":
		return out.ok == all && (!all || s.stepFence(in, out))
	case "Extend":
		return out.ok == all
	case "Unlock": // of one of the keys; ok is for all of them
		l := &s.locks[in.keys[0]-'a']
		if l.holder == in.token {
			l.holder = ""
			return true
		}
		return !out.ok
	default: // Holders
		return out.holders == s.locks[in.keys[0]-'a'].holder
	}
}

func (s *claimState) holds(keys, token string) bool {
	return !strings.ContainsFunc(keys, func(key rune) bool { return s.locks[key-'a'].holder != token })
}

// stepFence is for a call that gives a holding its number: the one it has, or else one that is greater than all before. A holder that
// has lost its lock, and got it again by an attempt that came late, may be given what it was given before.
func (s *claimState) stepFence(in claimInput, out claimOutput) bool {
	given, greater, again := true, true, true
	for _, key := range in.keys {
		l := &s.locks[key-'a']
		given = given && l.given && l.fence == s.locks[in.keys[0]-'a'].fence
		greater = greater && out.fence > l.fence
		again = again && out.fence == l.fence && l.last == in.token
		l.last, l.given = in.token, true
	}
	if given && !again || !greater && !again {
		return false
	}
	for _, key := range in.keys {
		s.locks[key-'a'].fence = out.fence
	}
	return true
}

func checkClaims(h *harness, round int) {
	h.Helper()
	stores := []cachify.Store{h.store, h.open()}
	var taken sync.Map
	start := time.Now()
	records := make([][]porcupine.Operation, clients)
	h.each(clients, func(i int) error {
		c := &claimer{h: h, store: stores[i%2], name: i, round: round, taken: &taken, seen: []string{"nobody-a", "nobody-s"}}
		for turn := range turns {
			in := c.choose(turn)
			began := time.Since(start)
			out, err := c.do(in)
			ended := time.Since(start)
			if err != nil {
				return fmt.Errorf("%+v: %w", in, err)
			}
			ins := []claimInput{in}
			if in.call == "Unlock" && len(in.keys) > 1 {
				ins = nil
				for _, key := range in.keys {
					ins = append(ins, claimInput{call: in.call, keys: string(key), token: in.token})
				}
			}
			for _, in := range ins {
				records[i] = append(records[i], porcupine.Operation{ClientId: i, Input: in, Output: out, Call: int64(began), Return: int64(ended)})
			}
		}
		return nil
	})
	for _, part := range claimModel.Partition(slices.Concat(records...)) {
		checkPart(h, claimModel, part)
	}
}

// A claimer makes calls at random. It remembers the tokens that it has seen, if the Lock that took their locks has returned: what is
// lost while Lock is on its way to the fencing token makes it fail, and rightly so.
type claimer struct {
	h           *harness
	store       cachify.Store
	name, round int
	taken       *sync.Map // the tokens whose Lock has returned, of all claimers
	seen        []string
}

func (c *claimer) choose(turn int) claimInput {
	last := c.seen[max(0, len(c.seen)-1-rand.IntN(3))]
	in := claimInput{
		call:   []string{"Lock", "Lock", "Lock", "Handover", "Handover", "Extend", "Unlock", "Unlock", "Fence", "Holders"}[rand.IntN(10)],
		keys:   []string{"a", "b", "c", "ab", "ba", "bc", "abc", "cba", "s", "s", "s"}[rand.IntN(11)],
		fenced: rand.IntN(2) == 0,
	}
	in.token = fmt.Sprintf("%d-%03d-%s", c.name, turn, in.keys)
	_, lastKeys, _ := strings.Cut(last[2:], "-")
	switch in.call {
	case "Handover":
		in.call, in.from, in.keys = "Lock", last, lastKeys
		in.token = fmt.Sprintf("%d-%03d-%s", c.name, turn, in.keys)
	case "Extend", "Unlock", "Fence":
		in.token, in.keys = last, lastKeys
	case "Lock":
		if rand.IntN(4) == 0 { // an attempt that is repeated
			in.token, in.keys, in.fenced = last, lastKeys, false
		}
	case "Holders":
		in.keys = in.keys[:1]
	}
	if in.keys == "s" {
		in.fenced = false
		if in.call == "Fence" {
			in.call = "Extend"
		}
	}
	return in
}

func (c *claimer) do(in claimInput) (out claimOutput, err error) {
	var names []string
	for _, key := range in.keys {
		names = append(names, fmt.Sprint(string(key), c.round))
	}
	claim := c.h.several(in.token, long, names...)
	if in.fenced || in.call == "Fence" {
		claim = c.h.fenced(in.token, long, names...)
	}
	if in.keys == "s" {
		claim.Slots = size
	}
	ctx := c.h.Context()
	switch in.call {
	case "Lock":
		out.fence, out.ok, err = c.store.Lock(ctx, claim, in.from)
	case "Extend":
		done, errs := c.store.Extend(ctx, []cachify.Claim{claim})
		if errs != nil {
			err = errs[0]
		}
		out.ok = done[0]
	case "Unlock":
		out.ok, err = c.store.Unlock(ctx, claim)
	case "Fence":
		out.fence, out.ok, err = c.store.Fence(ctx, claim)
	default: // Holders
		var tokens []string
		tokens, _, err = c.store.Holders(ctx, claim.Keys[0], in.keys == "s")
		slices.Sort(tokens)
		out.holders = strings.Join(tokens, " ")
		for _, token := range tokens {
			if _, there := c.taken.Load(token); there {
				c.seen = append(c.seen, token)
			}
		}
	}
	if in.call == "Lock" && out.ok {
		c.taken.Store(in.token, true)
		c.seen = append(c.seen, in.token)
	}
	return out, err
}
