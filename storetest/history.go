package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/go-cachify/cachify"
)

// The tests in this file let clients of two stores do what they like with a few keys, all at once, and
// check afterwards that there is an order of these calls, each somewhere between its beginning and its
// end, in which a store that does one thing at a time would have given the same results: that the history
// is linearizable. Keys are checked one by one: a call for several keys is atomic for each of them only.

var histories = []test{
	{"Linearizable", func(h *harness) {
		for round := range 6 {
			checkHistory(h, h.keys(fmt.Sprint("a", round), fmt.Sprint("b", round), fmt.Sprint("c", round)))
		}
	}},
	{"Claims", func(h *harness) {
		for round := range 6 {
			checkClaims(h, round)
		}
	}},
}

const (
	idLen   = 8
	clients = 6
	turns   = 40
)

// An input is what one call asks of one key, an output what it gave.
type input struct {
	call, key   string
	head, value string
}

type output struct {
	present bool // for Get and Lease
	value   string
	done    bool // for the others
}

// The state of a key is its value, absent where there is none. No value of these tests is like it.
const absent = "\x00absent"

var model = porcupine.Model{
	Partition: byKey,
	Init:      func() any { return absent },
	Step: func(state, in, out any) (bool, any) {
		want, next := step(state.(string), in.(input))
		return want == out.(output), next
	},
}

// step is the contract of the store in short: what a call for one key gives and leaves behind.
func step(state string, in input) (output, string) {
	there := state != absent
	switch in.call {
	case "Get":
		return read(state), state
	case "Lease":
		if there {
			return read(state), state
		}
		return output{}, in.value
	case "Set":
		if in.head == "" || there && strings.HasPrefix(state, in.head) {
			return output{done: true}, in.value
		}
		return output{done: there && strings.HasPrefix(state, in.value[:len(in.head)])}, state
	case "Expire":
		return output{done: there && strings.HasPrefix(state, in.head)}, state
	case "Delete":
		if there && strings.HasPrefix(state, in.head) {
			return output{done: true}, absent
		}
		return output{}, state
	case "Lock":
		if !there {
			return output{done: true}, in.value
		}
		return output{done: state == in.value}, state
	case "Handover":
		if there && state == in.head {
			return output{done: true}, in.value
		}
		return output{done: state == in.value}, state
	case "Extend":
		return output{done: state == in.value}, state
	default: // Unlock
		if state == in.value {
			return output{done: true}, absent
		}
		return output{}, state
	}
}

func read(state string) output {
	if state == absent {
		return output{}
	}
	return output{present: true, value: state}
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	keys := make(map[string][]porcupine.Operation)
	for _, op := range history {
		key := op.Input.(input).key
		keys[key] = append(keys[key], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range keys {
		parts = append(parts, part)
	}
	return parts
}

func checkHistory(h *harness, keys []string) {
	h.Helper()
	stores := []cachify.Store{h.store, h.open()}
	start := time.Now()
	records := make([][]porcupine.Operation, clients)
	h.each(clients, func(i int) error {
		c := &client{h: h, store: stores[i%2], name: i, last: make(map[string]string)}
		for turn := range turns {
			ins := c.choose(keys, turn)
			began := time.Since(start)
			outs, err := c.do(ins)
			ended := time.Since(start)
			if err != nil {
				return fmt.Errorf("%s: %w", ins[0].call, err)
			}
			for j, in := range ins {
				c.learn(in, outs[j])
				records[i] = append(records[i], porcupine.Operation{ClientId: i, Input: in, Output: outs[j], Call: int64(began), Return: int64(ended)})
			}
		}
		return nil
	})
	for _, part := range byKey(slices.Concat(records...)) {
		checkPart(h, model, part)
	}
}

func checkPart(h *harness, model porcupine.Model, part []porcupine.Operation) {
	h.Helper()
	switch porcupine.CheckOperationsTimeout(model, part, 2*patient) {
	case porcupine.Illegal:
		h.Errorf("no order of these calls explains their results:\n%s", describe(part))
	case porcupine.Unknown:
		h.Errorf("not decided within %v whether %d calls are linearizable", 2*patient, len(part))
	}
}

func describe(part []porcupine.Operation) string {
	slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	for _, op := range part {
		fmt.Fprintf(&text, "%9d to %9d ns: client %d %+v gave %+v\n", op.Call, op.Return, op.ClientId, op.Input, op.Output)
	}
	return text.String()
}

// A client makes calls at random. It remembers what it saw last at each key, so that its heads and tokens
// are right now and then.
type client struct {
	h     *harness
	store cachify.Store
	name  int
	last  map[string]string
}

func (c *client) choose(keys []string, turn int) []input {
	call := []string{"Get", "Lease", "Lease", "Set", "Set", "Expire", "Delete", "Lock", "Handover", "Extend", "Unlock"}[rand.IntN(11)]
	n := 1
	if call == "Get" || call == "Lease" || call == "Set" || call == "Delete" {
		n += rand.IntN(len(keys))
	}
	head := ""
	var ins []input
	for j, k := range rand.Perm(len(keys))[:n] {
		last := c.last[keys[k]]
		if j == 0 && call != "Get" && call != "Lease" && rand.IntN(4) > 0 && last != "" {
			head = last[:idLen]
		}
		in := input{call: call, key: keys[k], value: fmt.Sprintf("%02d-%03d-%d and more", c.name, turn, j)}
		switch call {
		case "Lease":
			in.value = fmt.Sprintf("%02d-%03d-0", c.name, turn) // one for all keys of the call
		case "Handover":
			in.head = cmp.Or(last, "no token")
		case "Extend", "Unlock":
			in.value = cmp.Or(last, "no token")
		case "Set", "Expire", "Delete":
			in.head = head
		}
		ins = append(ins, in)
	}
	return ins
}

func (c *client) do(ins []input) ([]output, error) {
	ctx, in := c.h.Context(), ins[0]
	var keys []string
	var values [][]byte
	var ttls []time.Duration
	for _, in := range ins {
		keys, values, ttls = append(keys, in.key), append(values, []byte(in.value)), append(ttls, long)
	}
	var found [][]byte
	var done []bool
	var err error
	switch in.call {
	case "Get":
		found, _, err = c.store.Get(ctx, keys, nil, nil)
	case "Lease":
		found, _, err = c.store.Lease(ctx, values[0], long, keys, nil, nil)
	case "Set":
		done, _, err = c.store.Set(ctx, bytesOf(in.head), keys, values, ttls, nil)
	case "Expire":
		done, err = c.store.Expire(ctx, bytesOf(in.head), long, keys)
	case "Delete":
		done, err = c.store.Delete(ctx, bytesOf(in.head), keys)
	case "Lock":
		done = make([]bool, 1)
		_, done[0], err = c.store.Lock(ctx, lockOf(in.value, long, in.key), "")
	case "Handover":
		done = make([]bool, 1)
		_, done[0], err = c.store.Lock(ctx, lockOf(in.value, long, in.key), in.head)
	case "Extend":
		var errs []error
		done, errs = c.store.Extend(ctx, []cachify.Claim{lockOf(in.value, long, in.key)})
		err = errors.Join(errs...)
	default: // Unlock
		done = make([]bool, 1)
		done[0], err = c.store.Unlock(ctx, lockOf(in.value, long, in.key))
	}
	if err != nil {
		return nil, err
	}
	outs := make([]output, len(ins))
	for i := range ins {
		if found != nil {
			outs[i] = output{present: found[i] != nil, value: string(found[i])}
		} else {
			outs[i] = output{done: done[i]}
		}
	}
	return outs, nil
}

func (c *client) learn(in input, out output) {
	switch {
	case out.present:
		c.last[in.key] = out.value
	case in.call == "Lease", out.done && (in.call == "Set" || in.call == "Lock" || in.call == "Handover"):
		c.last[in.key] = in.value
	}
}
