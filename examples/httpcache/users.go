package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// seeded is how many users there are at the start.
const seeded = 20_000

var errNotFound = errors.New("there is no such user")

// A User is what clients get to see.
type User struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// users stands for a database. It counts what it is asked.
type users struct {
	delay time.Duration

	mu      sync.Mutex
	rows    []User // the user with id n is rows[n-1]
	asked   int
	changed chan struct{} // closed, and made anew, by each write
}

func newUsers(delay time.Duration) *users {
	u := &users{delay: delay, changed: make(chan struct{})}
	for id := 1; id <= seeded; id++ {
		u.rows = append(u.rows, User{id, fmt.Sprint("User ", id), fmt.Sprintf("user%d@example.com", id)})
	}
	return u
}

// begin takes as long as a look at a database.
func (u *users) begin(ctx context.Context) error {
	if u.delay > 0 {
		timer := time.NewTimer(u.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	u.mu.Lock()
	u.asked++
	u.mu.Unlock()
	return ctx.Err()
}

func (u *users) read(ctx context.Context, id int) (User, error) {
	if err := u.begin(ctx); err != nil {
		return User{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if id < 1 || id > len(u.rows) {
		return User{}, errNotFound
	}
	return u.rows[id-1], nil
}

func (u *users) list(ctx context.Context, skip, limit int) ([]User, error) {
	if err := u.begin(ctx); err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	from := min(skip, len(u.rows))
	return append([]User{}, u.rows[from:min(from+limit, len(u.rows))]...), nil
}

// save writes a user, a new one if its id is 0, and gives it with its id.
func (u *users) save(ctx context.Context, user User) (User, error) {
	if err := u.begin(ctx); err != nil {
		return User{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case user.ID == 0:
		user.ID = len(u.rows) + 1
		u.rows = append(u.rows, user)
	case user.ID < 1 || user.ID > len(u.rows):
		return User{}, errNotFound
	default:
		u.rows[user.ID-1] = user
	}
	close(u.changed)
	u.changed = make(chan struct{})
	return user, nil
}

// state says how many users there are, and gives a channel that is closed by the next write.
func (u *users) state() (count int, changed <-chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.rows), u.changed
}

// looks says how often the users were looked at or written.
func (u *users) looks() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked
}
