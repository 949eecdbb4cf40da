package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/httpcache"
)

// listsTag is on every answer that shows several users: a list does not say which users are on it, or will be.
const listsTag = "lists"

func userTag(id int) string { return fmt.Sprint("user-", id) }

// An api has the handlers. cache is there for the writes, which purge.
type api struct {
	users *users
	cache *httpcache.Cache
}

func newHandler(client *cachify.Client, users *users) (http.Handler, error) {
	cache := httpcache.New(client, &httpcache.Options{
		TTL:          5 * time.Minute, // what handlers say nothing else about
		Header:       "X-Users-Cache",
		IgnoreParams: []string{"utm_*"},
	})
	a := &api{users: users, cache: cache}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{user_id}", a.read)
	mux.HandleFunc("GET /users", a.list)
	mux.HandleFunc("POST /users/{$}", a.create)
	mux.HandleFunc("PUT /users/{user_id}", a.update)
	hourly := cache.With(&httpcache.Options{TTL: time.Hour, ClientTTL: time.Minute})
	mux.Handle("GET /{$}", hourly.Handler(http.HandlerFunc(a.page)))
	mux.HandleFunc("GET /events", a.events)
	mux.HandleFunc("GET /export", a.export)
	return cache.Handler(mux), cache.Err() // around all methods, so that writes are seen
}

func (a *api) read(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("user_id"))
	if err != nil {
		writeError(w, http.StatusBadRequest, "user_id must be a number")
		return
	}
	user, err := a.users.read(r.Context(), id)
	if err != nil {
		fail(w, r, err)
		return
	}
	httpcache.AddTags(r, userTag(id))
	writeJSON(w, http.StatusOK, user)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	skip, errSkip := number(r, "skip", 0)
	limit, errLimit := number(r, "limit", 20)
	if errSkip != nil || errLimit != nil || skip < 0 || limit < 1 || limit > 100 {
		writeError(w, http.StatusBadRequest, "skip and limit must be numbers, limit from 1 to 100")
		return
	}
	list, err := a.users.list(r.Context(), skip, limit)
	if err != nil {
		fail(w, r, err)
		return
	}
	httpcache.AddTags(r, listsTag)
	writeJSON(w, http.StatusOK, list)
}

func (a *api) create(w http.ResponseWriter, r *http.Request) { a.save(w, r, 0, http.StatusCreated) }

func (a *api) update(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("user_id"))
	if err != nil || id < 1 {
		writeError(w, http.StatusBadRequest, "user_id must be a positive number")
		return
	}
	a.save(w, r, id, http.StatusOK)
}

// save writes a user. The cache drops the URL of the request by itself; what else shows the user goes by its tags. It goes before the
// client can see that the write is done.
func (a *api) save(w http.ResponseWriter, r *http.Request, id, status int) {
	user := User{}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&user); err != nil || user.Name == "" {
		writeError(w, http.StatusBadRequest, `the body must be an object with "name" and "email"`)
		return
	}
	user.ID = id
	user, err := a.users.save(r.Context(), user)
	if err != nil {
		fail(w, r, err)
		return
	}
	if err := a.cache.PurgeTags(context.WithoutCancel(r.Context()), userTag(user.ID), listsTag); err != nil {
		slog.WarnContext(r.Context(), "old answers may be served until the purge has been made good", "error", err)
	}
	w.Header().Set("Location", fmt.Sprint("/users/", user.ID))
	writeJSON(w, status, user)
}

func number(r *http.Request, name string, otherwise int) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	return strconv.Atoi(text)
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNotFound) {
		writeError(w, http.StatusNotFound, err.Error()) // not stored for the TTL: it may be there in a moment
		return
	}
	slog.ErrorContext(r.Context(), "request failed", "url", r.URL.String(), "error", err)
	writeError(w, http.StatusInternalServerError, "internal error")
}

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"error": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails if the client has gone: nobody is left to tell
}
