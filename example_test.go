package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

// These stand for an application: what it asks for, and the services behind.
type (
	User struct {
		ID   int64
		Name string
	}
	ReadUser struct {
		UserID int64 `key:"user_id"`
	}
	UpdateUser struct {
		UserID int64  `key:"user_id"`
		Name   string `key:"-"` // says what to do, not to whom
	}
	Reply struct{ Status string }
)

type userService struct{ names map[int64]string }

func (s *userService) ReadUser(_ context.Context, args ReadUser) (User, error) {
	fmt.Println("reading user", args.UserID)
	return User{args.UserID, s.names[args.UserID]}, nil
}

func (s *userService) UpdateUser(_ context.Context, args UpdateUser) (Reply, error) {
	s.names[args.UserID] = args.Name
	return Reply{"updated"}, nil
}

// A whole program: a cached reader, an update that runs one at a time for each user, and a Reset after the write.
func Example() {
	store := cachify.Memory()
	if addr := os.Getenv("MYAPP_REDIS_ADDR"); addr != "" {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		defer rdb.Close()
		store = cachify.Redis(rdb)
	}
	client := cachify.New(store, &cachify.Options{Prefix: "myapp:"})
	defer client.Close()

	repo := &userService{map[int64]string{42: "Ann"}}
	svc := repo
	readUser := cachify.Must(cachify.NewCached(client, "read_user-<user_id>", repo.ReadUser, &cachify.CachedOptions{TTL: 5 * time.Minute}))
	update := cachify.Must(cachify.NewOnce(client, "update_user-<user_id>", svc.UpdateUser, nil)).ReturnOnLocked(Reply{Status: "update in progress"})

	ctx := context.Background()
	user, err := readUser.Get(ctx, ReadUser{UserID: 42})
	fmt.Println(user, err)
	reply, err := update.Do(ctx, UpdateUser{UserID: 42, Name: "Bea"})
	fmt.Println(reply, err)
	err = readUser.Reset(ctx, ReadUser{UserID: 42})
	fmt.Println(err)
	user, err = readUser.Get(ctx, ReadUser{UserID: 42})
	fmt.Println(user, err)
	// Output:
	// reading user 42
	// {42 Ann} <nil>
	// {updated} <nil>
	// <nil>
	// reading user 42
	// {42 Bea} <nil>
}

// The function runs once. After that its result comes from the store, until its time to live ends or it is reset.
func ExampleNewCached() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	square := cachify.Must(cachify.NewCached(client, "square-<n>", func(_ context.Context, n int) (int, error) {
		fmt.Println("computing the square of", n)
		return n * n, nil
	}, nil))

	ctx := context.Background()
	for _, n := range []int{3, 3, 4, 3} {
		v, err := square.Get(ctx, n)
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(v)
	}
	// Output:
	// computing the square of 3
	// 9
	// 9
	// computing the square of 4
	// 16
	// 9
}

// A template that forgets an argument is an error, so two calls can't share a result by mistake.
func ExampleNewCached_forgottenArgument() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	type Search struct {
		Text string
		Page int
	}
	search := func(context.Context, Search) ([]string, error) { return nil, nil }

	_, err := cachify.NewCached(client, "search-<text>", search, nil)
	var te *cachify.TemplateError
	fmt.Println(errors.As(err, &te), te.Template, te.Placeholder)
	// Output: true search-<text> page
}

// Reset follows a write: after it has returned, no Get returns what was loaded before.
func ExampleCached_Reset() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	names := &userService{map[int64]string{1: "Ann"}}
	readUser := cachify.Must(cachify.NewCached(client, "read_user-<user_id>", names.ReadUser, nil))

	ctx := context.Background()
	user, _ := readUser.Get(ctx, ReadUser{1})
	fmt.Println(user.Name)
	names.names[1] = "Bea" // the write, which other processes may make as well
	if err := readUser.Reset(ctx, ReadUser{1}); err != nil {
		fmt.Println("the reset will be made good in the background:", err)
	}
	user, _ = readUser.Get(ctx, ReadUser{1})
	fmt.Println(user.Name)
	// Output:
	// reading user 1
	// Ann
	// reading user 1
	// Bea
}

// Put stores a value that is known without running the function, such as that of a row just written.
func ExampleCached_Put() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	svc := &userService{map[int64]string{}}
	readUser := cachify.Must(cachify.NewCached(client, "read_user-<user_id>", svc.ReadUser, nil))

	ctx := context.Background()
	if err := readUser.Put(ctx, ReadUser{7}, User{7, "Cid"}); err != nil {
		fmt.Println(err)
	}
	user, err := readUser.Get(ctx, ReadUser{7})
	fmt.Println(user, err)
	// Output: {7 Cid} <nil>
}

// Refresh runs the function although there is a value, and stores what it returns. Others get the old value meanwhile.
func ExampleCached_Refresh() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	version := 0
	config := cachify.Must(cachify.NewCached(client, "config", func(context.Context, struct{}) (string, error) {
		version++
		return fmt.Sprint("version ", version), nil
	}, nil))

	ctx := context.Background()
	for _, call := range []func(context.Context, struct{}) (string, error){config.Get, config.Get, config.Refresh, config.Get} {
		v, err := call(ctx, struct{}{})
		fmt.Println(v, err)
	}
	// Output:
	// version 1 <nil>
	// version 1 <nil>
	// version 2 <nil>
	// version 2 <nil>
}

// Peek looks into the store and never runs the function.
func ExampleCached_Peek() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	svc := &userService{map[int64]string{1: "Ann"}}
	readUser := cachify.Must(cachify.NewCached(client, "read_user-<user_id>", svc.ReadUser, nil))

	ctx := context.Background()
	_, ok, _ := readUser.Peek(ctx, ReadUser{1})
	fmt.Println(ok)
	_, _ = readUser.Get(ctx, ReadUser{1})
	user, ok, _ := readUser.Peek(ctx, ReadUser{1})
	fmt.Println(user.Name, ok)
	// Output:
	// false
	// reading user 1
	// Ann true
}

// Tags reset many entries at once, however many there are and whatever made them.
func ExampleClient_ResetTags() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	type Page struct {
		Author string
		Number int
	}
	pages := cachify.Must(cachify.NewCached(client, "articles-<author>-<number>", func(ctx context.Context, p Page) (string, error) {
		fmt.Println("reading page", p.Number, "of", p.Author)
		if p.Number == 1 {
			cachify.AddTags(ctx, "front") // known only while it is loaded
		}
		return "…", nil
	}, &cachify.CachedOptions{Tags: []string{"author-<author>"}}))

	ctx := context.Background()
	readAll := func() {
		for _, p := range []Page{{"ann", 1}, {"ann", 2}, {"bob", 1}} {
			_, _ = pages.Get(ctx, p)
		}
	}
	readAll()
	fmt.Println("Ann writes:", client.ResetTags(ctx, "author-ann"))
	readAll()
	fmt.Println("The front changes:", client.ResetTags(ctx, "front"))
	readAll()
	// Output:
	// reading page 1 of ann
	// reading page 2 of ann
	// reading page 1 of bob
	// Ann writes: <nil>
	// reading page 1 of ann
	// reading page 2 of ann
	// The front changes: <nil>
	// reading page 1 of ann
	// reading page 1 of bob
}

// A function can decide for each result how long it lives.
func ExampleSetTTL() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	rate := cachify.Must(cachify.NewCached(client, "rate-<currency>", func(ctx context.Context, currency string) (float64, error) {
		if currency == "EUR" {
			cachify.SetTTL(ctx, cachify.NoExpiry) // it never changes
			return 1, nil
		}
		cachify.SetTTL(ctx, 20*time.Millisecond)
		return 1.08, nil
	}, nil))

	ctx := context.Background()
	for _, currency := range []string{"EUR", "USD"} {
		v, err := rate.Get(ctx, currency)
		fmt.Println(currency, v, err)
	}
	for there := true; there; { // until it has expired
		_, there, _ = rate.Peek(ctx, "USD")
	}
	_, there, _ := rate.Peek(ctx, "EUR")
	fmt.Println("EUR is still there:", there)
	// Output:
	// EUR 1 <nil>
	// USD 1.08 <nil>
	// EUR is still there: true
}

// A result that is good for this caller only, or of which more is to come, is not stored.
func ExampleNoStore() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	state := "running"
	job := cachify.Must(cachify.NewCached(client, "job-<id>", func(ctx context.Context, id int) (string, error) {
		fmt.Println("asking for job", id)
		if state == "running" {
			cachify.NoStore(ctx)
		}
		return state, nil
	}, nil))

	ctx := context.Background()
	fmt.Println(job.Get(ctx, 1))
	state = "done"
	fmt.Println(job.Get(ctx, 1))
	fmt.Println(job.Get(ctx, 1))
	// Output:
	// asking for job 1
	// running <nil>
	// asking for job 1
	// done <nil>
	// done <nil>
}

// All hits of a GetMany are one round trip, and with Batch all its misses are one call.
func ExampleCached_Batch() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	svc := &userService{map[int64]string{1: "Ann", 2: "Bob", 3: "Cid"}}
	readUsers := cachify.Must(cachify.NewCached(client, "read_user-<user_id>", svc.ReadUser, nil)).
		Batch(func(_ context.Context, args []ReadUser) ([]User, error) {
			fmt.Println("reading users", args)
			users := make([]User, len(args)) // one for each of args, in their order
			for i, a := range args {
				users[i] = User{a.UserID, svc.names[a.UserID]}
			}
			return users, nil
		})

	ctx := context.Background()
	_, _ = readUsers.Get(ctx, ReadUser{2})
	users, err := readUsers.GetMany(ctx, []ReadUser{{3}, {2}, {1}, {3}})
	fmt.Println(users, err)
	// Output:
	// reading user 2
	// reading users [{3} {1}]
	// [{3 Cid} {2 Bob} {1 Ann} {3 Cid}] <nil>
}

// One update at a time for each user, over all processes. Who comes second gets the given answer.
func ExampleOnce_ReturnOnLocked() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	begun, end := make(chan bool), make(chan bool)
	update := cachify.Must(cachify.NewOnce(client, "update_user-<user_id>", func(_ context.Context, args UpdateUser) (Reply, error) {
		begun <- true
		<-end
		return Reply{"updated"}, nil
	}, nil)).ReturnOnLocked(Reply{"update in progress"})

	ctx := context.Background()
	first := make(chan Reply)
	go func() {
		reply, _ := update.Do(ctx, UpdateUser{UserID: 1, Name: "Bea"})
		first <- reply
	}()
	<-begun
	reply, err := update.Do(ctx, UpdateUser{UserID: 1, Name: "Bob"})
	fmt.Println("second:", reply, err)
	end <- true
	fmt.Println("first:", <-first)
	// Output:
	// second: {update in progress} <nil>
	// first: {updated}
}

// A guard for a job that every instance of a service starts at the same hour: it runs once. A run that fails frees the
// lock, so that another instance can try.
func ExampleNewOnce_cron() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	report := cachify.Must(cachify.NewOnce(client, "daily_report-<day|2006-01-02>", func(_ context.Context, day time.Time) (string, error) {
		return "sent the report of " + day.Format("2 January"), nil
	}, &cachify.OnceOptions{TTL: 25 * time.Hour, Keep: true}))

	ctx, day := context.Background(), time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	for instance := range 3 {
		result, err := report.Do(ctx, day)
		if errors.Is(err, cachify.ErrLocked) {
			result, err = "it has been done", nil
		}
		fmt.Println("instance", instance, result, err)
	}
	// Output:
	// instance 0 sent the report of 21 November <nil>
	// instance 1 it has been done <nil>
	// instance 2 it has been done <nil>
}

// Wrappers nest through their methods: here an expensive report is built one at a time, and remembered.
func ExampleNewOnce_nested() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	type Report struct{ Year int }
	report := cachify.Must(cachify.NewCached(client, "report-<year>", func(_ context.Context, r Report) (string, error) {
		fmt.Println("building the report of", r.Year)
		return fmt.Sprint("report of ", r.Year), nil
	}, nil))
	once := cachify.Must(cachify.NewOnce(client, "report-<year>", report.Get, &cachify.OnceOptions{Wait: time.Second}))

	ctx := context.Background()
	for range 2 {
		fmt.Println(once.Do(ctx, Report{2026}))
	}
	// Output:
	// building the report of 2026
	// report of 2026 <nil>
	// report of 2026 <nil>
}
