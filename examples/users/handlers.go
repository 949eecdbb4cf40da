package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// requestTimeout bounds the work of one request.
	requestTimeout = 30 * time.Second

	maxBody  = 16 << 10 // bytes
	maxName  = 200      // characters
	maxEmail = 254      // bytes, RFC 5321

	defaultLimit = 20
	maxLimit     = 100
)

// An api turns HTTP requests into calls of the service, and what they return into JSON.
type api struct {
	svc *service
	log *slog.Logger
}

func newHandler(svc *service, log *slog.Logger) http.Handler {
	a := &api{svc: svc, log: log}
	mux := http.NewServeMux()
	for _, users := range []string{"/users", "/users/{$}"} {
		mux.Handle("GET "+users, a.handle(a.list))
		mux.Handle("POST "+users, a.handle(a.create))
		mux.Handle(users, a.handle(allowOnly("GET, POST")))
	}
	mux.Handle("GET /users/{user_id}", a.handle(a.read))
	mux.Handle("PUT /users/{user_id}", a.handle(a.update))
	mux.Handle("/users/{user_id}", a.handle(allowOnly("GET, PUT")))
	mux.Handle("/", a.handle(func(http.ResponseWriter, *http.Request) error {
		return &httpError{http.StatusNotFound, "there is nothing at this path"}
	}))
	return mux
}

func (a *api) create(w http.ResponseWriter, r *http.Request) error {
	user, err := decodeUser(r)
	if err != nil {
		return err
	}
	if user, err = a.svc.Create(r.Context(), user); err != nil {
		return err
	}
	w.Header().Set("Location", fmt.Sprintf("/users/%d", user.ID))
	return writeJSON(w, http.StatusCreated, user)
}

func (a *api) read(w http.ResponseWriter, r *http.Request) error {
	id, err := userID(r)
	if err != nil {
		return err
	}
	user, hit, err := a.svc.Read(r.Context(), id)
	setCacheHeader(w, hit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, user)
}

func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	skip, limit, err := page(r.URL)
	if err != nil {
		return err
	}
	users, hit, err := a.svc.List(r.Context(), skip, limit)
	setCacheHeader(w, hit)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, users)
}

func (a *api) update(w http.ResponseWriter, r *http.Request) error {
	id, err := userID(r)
	if err != nil {
		return err
	}
	user, err := decodeUser(r)
	if err != nil {
		return err
	}
	reply, err := a.svc.Update(r.Context(), UpdateUser{UserID: id, Name: user.Name, Email: user.Email})
	if err != nil {
		return err
	}
	if reply.Status != "" {
		return writeJSON(w, http.StatusIMUsed, map[string]string{"status": reply.Status})
	}
	return writeJSON(w, http.StatusOK, reply.User)
}

// userID takes the id out of the path.
func userID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("user_id"), 10, 64)
	if err != nil || id < 1 {
		return 0, badRequest("user_id must be a positive whole number")
	}
	return id, nil
}

// page takes skip and limit out of the query. Requests that mean the same page give the same numbers, and so one key.
func page(u *url.URL) (skip, limit int, err error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return 0, 0, badRequest("the query can't be read")
	}
	if skip, err = number(query.Get("skip"), 0); err != nil || skip < 0 {
		return 0, 0, badRequest("skip must be a whole number from 0")
	}
	if limit, err = number(query.Get("limit"), defaultLimit); err != nil || limit < 1 || limit > maxLimit {
		return 0, 0, badRequest(fmt.Sprintf("limit must be a whole number from 1 to %d", maxLimit))
	}
	return skip, limit, nil
}

func number(s string, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	return strconv.Atoi(s)
}

// decodeUser reads and checks the body of a create or an update.
func decodeUser(r *http.Request) (User, error) {
	var body struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(&body)
	if err == nil && dec.Decode(&struct{}{}) != io.EOF {
		err = errors.New("there is more after the object")
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return User{}, &httpError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	}
	if err != nil {
		return User{}, badRequest(`the body must be one JSON object with "name" and "email" and nothing else`)
	}
	name := strings.TrimSpace(body.Name)
	if name == "" || utf8.RuneCountInString(name) > maxName {
		return User{}, badRequest(fmt.Sprintf("name is required, with at most %d characters", maxName))
	}
	address, err := mail.ParseAddress(body.Email)
	if err != nil || address.Address != body.Email || len(body.Email) > maxEmail {
		return User{}, badRequest("email is required, and must be an e-mail address")
	}
	return User{Name: name, Email: body.Email}, nil
}

// An httpError is an error that clients may see.
type httpError struct {
	status  int
	message string
}

func (e *httpError) Error() string { return e.message }

func badRequest(message string) error { return &httpError{http.StatusBadRequest, message} }

// allowOnly answers the methods that a path does not have.
func allowOnly(methods string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", methods)
		return &httpError{http.StatusMethodNotAllowed, "this path has only " + methods}
	}
}

// handle does what all handlers share: limits, the time taken, errors as JSON, the log.
func (a *api) handle(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		timed := &timedWriter{ResponseWriter: w, start: time.Now()}
		err := h(timed, r.WithContext(ctx))
		if err != nil {
			a.fail(timed, r, err)
		}
		a.log.InfoContext(ctx, "request", "method", r.Method, "url", r.URL.String(), "status", timed.status,
			"cache", timed.Header().Get("X-Cache"), "took", time.Since(timed.start))
	})
}

// fail answers an error. Only what was made for clients reaches them; the rest is for the log.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client has gone: nobody reads an answer
	}
	status, message := http.StatusInternalServerError, "internal error"
	var known *httpError
	switch {
	case errors.As(err, &known):
		status, message = known.status, known.message
	case errors.Is(err, errNotFound):
		status, message = http.StatusNotFound, errNotFound.Error()
	case errors.Is(err, errUnavailable), errors.Is(err, context.DeadlineExceeded):
		status, message = http.StatusServiceUnavailable, "the service can't do this at the moment: try again"
		w.Header().Set("Retry-After", "1")
	}
	if status >= http.StatusInternalServerError {
		a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "url", r.URL.String(), "error", err)
	}
	_ = writeJSON(w, status, map[string]string{"error": message}) // a map of strings always has a JSON form
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // fails if the client has gone: nobody is left to tell
	return nil
}

func setCacheHeader(w http.ResponseWriter, hit bool) {
	value := "miss"
	if hit {
		value = "hit"
	}
	w.Header().Set("X-Cache", value)
}

// A timedWriter says in the Server-Timing header how long the answer took, in milliseconds, and notes its status.
type timedWriter struct {
	http.ResponseWriter
	start  time.Time
	status int // 0: nothing was sent, the client has gone
}

func (w *timedWriter) WriteHeader(status int) {
	w.status = status
	w.Header().Set("Server-Timing", fmt.Sprintf("app;dur=%.1f", float64(time.Since(w.start).Microseconds())/1000))
	w.ResponseWriter.WriteHeader(status)
}
