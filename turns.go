package cachify

import "time"

const (
	// standBack is for how long a process that has just had its turn lets others come first.
	standBack = 2 * time.Millisecond

	// maxAlone is after how many turns in a row, without any of another process between them, a process looks whether there are others:
	// the server may be so much quicker to reach from here that they never come first.
	maxAlone = 8
)

// turns lets the processes that wait for one key have it in turn, though none of them knows of the others. The longer a process
// has waited since its last turn, counted in the releases that it has heard of, the sooner it tries. Without this the lock would
// go to and fro between those that the server tells first. Who has not had a turn yet tries at once.
type turns struct {
	any       bool // turns so far
	heard     int  // releases since the last one
	alone     int  // turns in a row that came at the first release
	notBefore time.Time
}

// release is called when the key has been released for all.
func (t *turns) release() {
	t.heard++
	if !t.any || t.heard == 1 && t.alone%maxAlone > 0 {
		t.notBefore = time.Time{}
		return
	}
	t.notBefore = time.Now().Add(jittered(standBack / time.Duration(t.heard)))
}

// taken is called when a waiter of this process has got the lease. Without a release before it that is no new turn.
func (t *turns) taken() {
	switch {
	case t.heard == 1 && t.any:
		t.alone++
	case t.heard > 0:
		t.alone = 0
	}
	t.any, t.heard = true, 0
}
