package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-cachify/cachify"
)

const (
	cacheTTL = 5 * time.Minute

	// usersTag is on every cached list. A page does not say which users are on it, or will be once one is
	// added: so each write resets them all.
	usersTag = "users"

	updateInProgress = "Update in progress"
)

// errUnavailable means that an update did not run to its end because of the lock, not of the database.
var errUnavailable = errors.New("the lock is unavailable")

// ReadUser are the arguments of a read, and the whole of its key.
type ReadUser struct {
	UserID int64 `key:"user_id"`
}

// ListUsers are the arguments of a list. Their order in the key is that of the template, whatever the request's.
type ListUsers struct {
	Skip  int
	Limit int
}

// UpdateUser are the arguments of an update. Only the id is in its key: two updates of one user exclude
// each other, whatever they write. The tags say so, since a field that is forgotten is an error.
type UpdateUser struct {
	UserID int64  `key:"user_id"`
	Name   string `key:"-"`
	Email  string `key:"-"`
}

// UpdateReply is what an update gives: the user as it is now or, with a Status, why it was not run.
type UpdateReply struct {
	Status string
	User   User
}

// A service is what the handlers call. It owns the functions that are cached or run once at a time; the
// repository below and the handlers above know nothing of it.
type service struct {
	repo   *repository
	client *cachify.Client
	log    *slog.Logger

	readUser   *cachify.Cached[ReadUser, User]
	listUsers  *cachify.Cached[ListUsers, []User]
	updateUser *cachify.Once[UpdateUser, UpdateReply]
}

func newService(client *cachify.Client, repo *repository, log *slog.Logger) *service {
	s := &service{repo: repo, client: client, log: log}
	s.readUser = cachify.Must(cachify.NewCached(client, "read_user-<user_id>", s.loadUser,
		&cachify.CachedOptions{TTL: cacheTTL}))
	s.listUsers = cachify.Must(cachify.NewCached(client, "list_users-<skip>-<limit>", s.loadList,
		&cachify.CachedOptions{TTL: cacheTTL, Tags: []string{usersTag}}))
	s.updateUser = cachify.Must(cachify.NewOnce(client, "update_user-<user_id>", s.runUpdate, nil)).
		ReturnOnLocked(UpdateReply{Status: updateInProgress})
	return s
}

// Create stores a new user.
func (s *service) Create(ctx context.Context, user User) (User, error) {
	user, err := s.repo.Create(ctx, user)
	s.forget(ctx, user.ID)
	return user, err
}

// Read returns one user, and whether it came from the cache. It returns errNotFound if there is none, which is an
// error and therefore not cached.
func (s *service) Read(ctx context.Context, id int64) (user User, hit bool, err error) {
	ctx, ran := withRan(ctx)
	user, err = s.readUser.Get(ctx, ReadUser{UserID: id})
	return user, err == nil && !ran.Load(), err
}

// List returns a page of users, and whether it came from the cache.
func (s *service) List(ctx context.Context, skip, limit int) (users []User, hit bool, err error) {
	ctx, ran := withRan(ctx)
	users, err = s.listUsers.Get(ctx, ListUsers{Skip: skip, Limit: limit})
	return users, err == nil && !ran.Load(), err
}

// Update changes a user unless another update of the same user is under way, anywhere: then the reply has a Status.
// An update whose lock can't be taken, or is lost on the way, gives errUnavailable.
func (s *service) Update(ctx context.Context, args UpdateUser) (UpdateReply, error) {
	ctx, ran := withRan(ctx)
	reply, err := s.updateUser.Do(ctx, args)
	if err != nil && (!ran.Load() || errors.Is(err, cachify.ErrLockLost)) {
		return reply, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return reply, err
}

// loadUser is what readUser caches.
func (s *service) loadUser(ctx context.Context, args ReadUser) (User, error) {
	markRan(ctx)
	return s.repo.Read(ctx, args.UserID)
}

// loadList is what listUsers caches.
func (s *service) loadList(ctx context.Context, args ListUsers) ([]User, error) {
	markRan(ctx)
	return s.repo.List(ctx, args.Skip, args.Limit)
}

// runUpdate is what updateUser runs under its lock. The resets come after the commit, and before the lock is free
// and the caller has its answer: whoever reads after that, through any instance, gets the new row.
func (s *service) runUpdate(ctx context.Context, args UpdateUser) (UpdateReply, error) {
	markRan(ctx)
	user := User{ID: args.UserID, Name: args.Name, Email: args.Email}
	err := s.repo.Update(ctx, user)
	if errors.Is(err, errNotFound) {
		return UpdateReply{}, err
	}
	s.forget(ctx, args.UserID)
	return UpdateReply{User: user}, err
}

// forget resets all that may be cached of a user after a write. It does so also when the write failed, since one
// that was cut off may have been committed all the same, and also when the caller has gone. An error does
// not undo the write, and is no reason to report it as failed: cachify goes on trying until it reaches the store.
func (s *service) forget(ctx context.Context, id int64) {
	ctx = context.WithoutCancel(ctx)
	if err := s.readUser.Reset(ctx, ReadUser{UserID: id}); err != nil {
		s.log.WarnContext(ctx, "reset of a user is late", "user_id", id, "error", err)
	}
	if err := s.client.ResetTags(ctx, usersTag); err != nil {
		s.log.WarnContext(ctx, "reset of the lists is late", "error", err)
	}
}

// forgetAll resets everything that may be cached, for when the database itself is another one.
func (s *service) forgetAll(ctx context.Context) {
	if err := errors.Join(s.readUser.ResetAll(ctx), s.listUsers.ResetAll(ctx)); err != nil {
		s.log.WarnContext(ctx, "reset of everything is late", "error", err)
	}
}
