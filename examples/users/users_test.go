package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

const ann = `{"name":"Ann","email":"ann@example.com"}`

func TestCreateReadUpdateList(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		i := newInstance(t, open(), newDB(t))
		created := i.do(t, "POST", "/users/", `{"name":" Bob ","email":"bob@example.com"}`, http.StatusCreated)
		bob := parse[User](t, created)
		if bob != (User{ID: seededUsers + 1, Name: "Bob", Email: "bob@example.com"}) {
			t.Fatalf("%+v", bob)
		}
		location := created.header.Get("Location")
		if want := fmt.Sprintf("/users/%d", bob.ID); location != want {
			t.Fatalf("Location %q, want %q", location, want)
		}
		if user := get[User](t, i, location, "miss"); user != bob {
			t.Fatalf("%+v, want %+v", user, bob)
		}
		if user := get[User](t, i, location, "hit"); user != bob {
			t.Fatalf("%+v, want %+v", user, bob)
		}

		updated := parse[User](t, i.do(t, "PUT", location, ann, http.StatusOK))
		if updated != (User{ID: bob.ID, Name: "Ann", Email: "ann@example.com"}) {
			t.Fatalf("%+v", updated)
		}
		if user := get[User](t, i, location, "miss"); user != updated {
			t.Fatalf("%+v after the update, want %+v", user, updated)
		}
		if user := get[User](t, i, location, "hit"); user != updated {
			t.Fatalf("%+v, want %+v", user, updated)
		}
		if user := get[User](t, i, "/users/42", "miss"); user != (User{42, "User 42", "user42@example.com"}) {
			t.Fatalf("%+v", user)
		}
	})
}

func TestWritesResetLists(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		i := newInstance(t, open(), newDB(t))
		first, last := "/users?limit=2", fmt.Sprintf("/users?skip=%d", seededUsers)
		for _, cache := range []string{"miss", "hit"} {
			users := get[[]User](t, i, first, cache)
			if len(users) != 2 || users[0].Name != "User 1" || users[1].ID != 2 {
				t.Fatalf("%+v", users)
			}
			if resp := i.do(t, "GET", last, "", http.StatusOK); resp.body != "[]\n" || resp.header.Get("X-Cache") != cache {
				t.Fatalf("%q, %v", resp.body, resp.header)
			}
		}
		i.do(t, "PUT", "/users/1", ann, http.StatusOK)
		if users := get[[]User](t, i, first, "miss"); users[0].Name != "Ann" {
			t.Fatalf("%+v", users)
		}
		i.do(t, "POST", "/users/", ann, http.StatusCreated)
		if users := get[[]User](t, i, last, "miss"); len(users) != 1 || users[0].ID != seededUsers+1 {
			t.Fatalf("%+v", users)
		}
	})
}

func TestOneListOneKey(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		i := newInstance(t, open(), newDB(t))
		if users := get[[]User](t, i, "/users?skip=0&limit=20", "miss"); len(users) != 20 || users[19].ID != 20 {
			t.Fatalf("%+v", users)
		}
		for _, same := range []string{"?limit=20&skip=0", "", "?skip=0", "?limit=20", "?limit=", "?skip=00&limit=%320", "/", "/?limit=020&other=1"} {
			if users := get[[]User](t, i, "/users"+same, "hit"); len(users) != 20 || users[19].ID != 20 {
				t.Fatalf("%s: %+v", same, users)
			}
		}
		for _, other := range []string{"?skip=20", "?limit=2", "?skip=2", "?limit=100"} {
			get[[]User](t, i, "/users"+other, "miss")
		}
		if n := i.calls.Load(); n != 5 {
			t.Fatalf("%d calls of the database, want 5", n)
		}
	})
}

func TestNotFoundIsNotCached(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		i := newInstance(t, open(), newDB(t))
		next := fmt.Sprintf("/users/%d", seededUsers+1)
		for range 2 {
			resp := i.do(t, "GET", next, "", http.StatusNotFound)
			if resp.header.Get("X-Cache") != "miss" || parse[map[string]string](t, resp)["error"] == "" {
				t.Fatalf("%v %s", resp.header, resp.body)
			}
		}
		i.do(t, "PUT", next, ann, http.StatusNotFound)
		i.do(t, "POST", "/users/", ann, http.StatusCreated)
		get[User](t, i, next, "miss")
	})
}

func TestBadRequests(t *testing.T) {
	i := newInstance(t, cachify.Memory(), newDB(t))
	for _, test := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/users/0", "", 400},
		{"GET", "/users/-1", "", 400},
		{"GET", "/users/abc", "", 400},
		{"GET", "/users/9223372036854775808", "", 400},
		{"PUT", "/users/abc", ann, 400},
		{"GET", "/users?limit=0", "", 400},
		{"GET", "/users?limit=101", "", 400},
		{"GET", "/users?limit=many", "", 400},
		{"GET", "/users?skip=-1", "", 400},
		{"GET", "/users?skip=9223372036854775808", "", 400},
		{"GET", "/users?skip=%zz", "", 400},
		{"POST", "/users/", "", 400},
		{"POST", "/users/", "null", 400},
		{"POST", "/users/", "[]", 400},
		{"POST", "/users/", "{", 400},
		{"POST", "/users/", ann + ann, 400},
		{"POST", "/users/", `{"name":"Ann"}`, 400},
		{"POST", "/users/", `{"email":"ann@example.com"}`, 400},
		{"POST", "/users/", `{"name":" ","email":"ann@example.com"}`, 400},
		{"POST", "/users/", `{"name":"Ann","email":"ann"}`, 400},
		{"POST", "/users/", `{"name":"Ann","email":"Ann <ann@example.com>"}`, 400},
		{"POST", "/users/", `{"name":"Ann","email":"ann@example.com","admin":true}`, 400},
		{"POST", "/users/", `{"name":1,"email":"ann@example.com"}`, 400},
		{"POST", "/users/", `{"name":"` + strings.Repeat("a", maxName+1) + `","email":"ann@example.com"}`, 400},
		{"POST", "/users/", `{"name":"` + strings.Repeat("a", maxBody) + `"}`, 413},
		{"PUT", "/users/1", `{"name":""}`, 400},
		{"DELETE", "/users/1", "", 405},
		{"PUT", "/users", ann, 405},
		{"DELETE", "/users/", "", 405},
		{"GET", "/", "", 404},
		{"GET", "/users/1/posts", "", 404},
	} {
		name := fmt.Sprintf("%s %s %.50s", test.method, test.path, test.body)
		resp := i.do(t, test.method, test.path, test.body, test.status)
		if parse[map[string]string](t, resp)["error"] == "" {
			t.Errorf("%s: no error in %s", name, resp.body)
		}
		if test.status == 405 && resp.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow header", name)
		}
	}
	if n := i.calls.Load(); n != 0 {
		t.Errorf("%d bad requests reached the database", n)
	}
}

func TestInternalErrorsStayInside(t *testing.T) {
	i := newInstance(t, cachify.Memory(), newDB(t))
	broken := func(context.Context) error { return errors.New("disk /dev/secret is on fire") }
	i.pause.Store(&broken)
	for _, test := range []struct{ method, path, body string }{
		{"GET", "/users/1", ""}, {"GET", "/users", ""}, {"PUT", "/users/1", ann}, {"POST", "/users/", ann},
	} {
		resp := i.do(t, test.method, test.path, test.body, http.StatusInternalServerError)
		if resp.body != "{\"error\":\"internal error\"}\n" {
			t.Errorf("%s %s: %s", test.method, test.path, resp.body)
		}
	}
	if n := strings.Count(i.log.String(), "on fire"); n != 4 {
		t.Errorf("the log has the cause %d times, want 4:\n%s", n, i.log.String())
	}
}

// Of a hundred updates of one user one runs; the database holds it until the other ninety-nine have their answers.
func TestConcurrentUpdates(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		db := newDB(t)
		instances := []*instance{newInstance(t, open(), db), newInstance(t, open(), db)}
		_, release := instances[0].hold()
		instances[1].pause.Store(instances[0].pause.Load())

		const callers = 100
		answers := make(chan response, callers)
		for n := range callers {
			go func() {
				body := fmt.Sprintf(`{"name":"Ann %d","email":"ann@example.com"}`, n)
				answers <- send(t.Context(), "PUT", instances[n%2].url+"/users/42", body)
			}()
		}
		for range callers - 1 {
			got := receive(t, answers)
			got.check(t, "PUT", http.StatusIMUsed)
			if got.body != "{\"status\":\"Update in progress\"}\n" {
				t.Fatal(got.body)
			}
		}
		release()
		last := receive(t, answers)
		last.check(t, "PUT", http.StatusOK)
		if n := instances[0].calls.Load() + instances[1].calls.Load(); n != 1 {
			t.Fatalf("%d updates ran, want 1", n)
		}
		if user, want := get[User](t, instances[0], "/users/42", "miss"), parse[User](t, last); user != want {
			t.Fatalf("%+v, want %+v", user, want)
		}
		instances[1].do(t, "PUT", "/users/42", ann, http.StatusOK) // the lock is free again
	})
}

// Updates of different users don't exclude each other.
func TestUpdatesOfTwoUsers(t *testing.T) {
	i := newInstance(t, cachify.Memory(), newDB(t))
	entered, release := i.hold()
	var wg sync.WaitGroup
	for id := range 2 {
		wg.Go(func() {
			if got := send(t.Context(), "PUT", fmt.Sprintf("%s/users/%d", i.url, id+1), ann); got.status != http.StatusOK {
				t.Errorf("%+v", got)
			}
		})
	}
	for range 2 {
		receive(t, entered)
	}
	release()
	wg.Wait()
}

// A crowd on a cold key is one call of the database, and one miss.
func TestConcurrentReads(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		i := newInstance(t, open(), newDB(t))
		entered, release := i.hold()
		const callers = 50
		answers := make(chan response, callers)
		for range callers {
			go func() { answers <- send(t.Context(), "GET", i.url+"/users/7", "") }()
		}
		receive(t, entered)
		release()
		cache := map[string]int{}
		for range callers {
			got := receive(t, answers)
			got.check(t, "GET", http.StatusOK)
			cache[got.header.Get("X-Cache")]++
		}
		if n := i.calls.Load(); n != 1 || cache["miss"] != 1 || cache["hit"] != callers-1 {
			t.Fatalf("%d calls of the database, %v", n, cache)
		}
	})
}

// Two instances on one store and one database: what one writes the other reads at once, and they share their locks.
func TestInstancesAgree(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		db := newDB(t)
		a, b := newInstance(t, open(), db), newInstance(t, open(), db)
		get[User](t, a, "/users/42", "miss")
		get[User](t, b, "/users/42", "hit")
		get[[]User](t, b, "/users?skip=41", "miss")
		for n := range 10 {
			name := fmt.Sprintf("Ann %d", n)
			a.do(t, "PUT", "/users/42", fmt.Sprintf(`{"name":%q,"email":"ann@example.com"}`, name), http.StatusOK)
			if user := get[User](t, b, "/users/42", "miss"); user.Name != name {
				t.Fatalf("B reads %+v, want %s", user, name)
			}
			if users := get[[]User](t, b, "/users?skip=41", "miss"); users[0].Name != name {
				t.Fatalf("B lists %+v, want %s", users[0], name)
			}
			get[User](t, a, "/users/42", "hit")
			a, b = b, a
		}
	})
}

// What is read, and cached, while an update is under way is reset when it is done.
func TestReadDuringUpdate(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		db := newDB(t)
		a, b := newInstance(t, open(), db), newInstance(t, open(), db)
		entered, release := a.hold()
		answer := make(chan response, 1)
		go func() { answer <- send(t.Context(), "PUT", a.url+"/users/42", ann) }()
		receive(t, entered)
		for _, cache := range []string{"miss", "hit"} {
			if user := get[User](t, b, "/users/42", cache); user.Name != "User 42" {
				t.Fatalf("%+v", user)
			}
			if users := get[[]User](t, b, "/users?skip=41", cache); users[0].Name != "User 42" {
				t.Fatalf("%+v", users[0])
			}
		}
		release()
		got := receive(t, answer)
		got.check(t, "PUT", http.StatusOK)
		if user := get[User](t, b, "/users/42", "miss"); user.Name != "Ann" {
			t.Fatalf("%+v", user)
		}
		if users := get[[]User](t, b, "/users?skip=41", "miss"); users[0].Name != "Ann" {
			t.Fatalf("%+v", users[0])
		}
	})
}

// An update that the caller has given up may be written all the same, so what is cached must go.
func TestAbandonedUpdateResets(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() cachify.Store) {
		i := newInstance(t, open(), newDB(t))
		get[User](t, i, "/users/42", "miss")
		get[User](t, i, "/users/42", "hit")
		ctx, cancel := context.WithCancel(t.Context())
		giveUp := func(context.Context) error { cancel(); return nil }
		i.pause.Store(&giveUp)
		if _, err := i.svc.Update(ctx, UpdateUser{UserID: 42, Name: "Ann", Email: "ann@example.com"}); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if strings.Contains(i.log.String(), "is late") {
			t.Fatalf("the resets ended with the caller:\n%s", i.log.String())
		}
		get[User](t, i, "/users/42", "miss")
	})
}

// Without its Redis the service goes on reading, uncached; updates, which need the lock, are refused.
func TestRedisDown(t *testing.T) {
	_, mini := redistest.Mini(t)
	i := newInstance(t, redisAt(t, mini.Addr()), newDB(t))
	get[User](t, i, "/users/42", "miss")
	get[User](t, i, "/users/42", "hit")
	mini.SetError("LOADING the test wants it so")
	get[User](t, i, "/users/42", "miss")
	get[[]User](t, i, "/users", "miss")
	before := i.calls.Load()
	resp := i.do(t, "PUT", "/users/42", ann, http.StatusServiceUnavailable)
	if resp.header.Get("Retry-After") == "" || strings.Contains(resp.body, "LOADING") {
		t.Errorf("%v %s", resp.header, resp.body)
	}
	if n := i.calls.Load(); n != before {
		t.Error("the update ran without a lock")
	}
	i.do(t, "POST", "/users/", ann, http.StatusCreated)
	mini.SetError("")
}

func TestSeedOnce(t *testing.T) {
	db, free := filepath.Join(t.TempDir(), "users.db"), func(context.Context) error { return nil }
	var seeded atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			repo, err := openRepository(t.Context(), db, free)
			if err != nil {
				t.Error(err)
				return
			}
			if repo.seeded {
				seeded.Add(1)
			}
			if users, err := repo.List(t.Context(), seededUsers-1, 5); err != nil || len(users) != 1 {
				t.Errorf("the last page: %v, %v", users, err)
			}
			if err := repo.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := seeded.Load(); n != 1 {
		t.Fatalf("seeded %d times, want once", n)
	}
}
