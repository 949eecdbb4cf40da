package httpcache_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/httpcache"
)

// show sends a request and prints what came of it.
func show(method, url string, headers ...string) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s: %d %s %s\n", method, req.URL.RequestURI(), res.StatusCode, res.Header.Get("X-Cache"), body)
}

func Example() {
	client := cachify.New(cachify.Memory(), nil) // or cachify.Redis(rdb)
	defer client.Close()
	cache := httpcache.New(client, &httpcache.Options{TTL: 5 * time.Minute})

	runs := 0
	user := func(w http.ResponseWriter, r *http.Request) {
		runs++
		fmt.Fprintf(w, "user %s, run %d", r.PathValue("id"), runs)
	}
	mux := http.NewServeMux()
	mux.Handle("/users/{id}", cache.Handler(http.HandlerFunc(user)))
	srv := httptest.NewServer(mux)
	defer srv.Close()

	show("GET", srv.URL+"/users/42")
	show("GET", srv.URL+"/users/42")
	show("GET", srv.URL+"/users/42", "Cache-Control", "no-cache")
	show("PUT", srv.URL+"/users/42") // removes what is stored of its URL
	show("GET", srv.URL+"/users/42")
	// Output:
	// GET /users/42: 200 Miss user 42, run 1
	// GET /users/42: 200 Hit user 42, run 1
	// GET /users/42: 200 Miss user 42, run 2
	// PUT /users/42: 200 Miss user 42, run 3
	// GET /users/42: 200 Miss user 42, run 4
}

func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	client := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "myapi:"})
	defer client.Close()
	cache := httpcache.New(client, &httpcache.Options{
		TTL:          5 * time.Minute, // in Redis
		ClientTTL:    time.Minute,     // in browsers, which no purge reaches
		Header:       "X-MyAPI-Cache",
		IgnoreParams: []string{"utm_*"},
	})
	http.Handle("GET /users/{id}", cache.Handler(http.NotFoundHandler()))
	http.Handle("GET /report", cache.With(&httpcache.Options{TTL: time.Hour}).Handler(http.NotFoundHandler()))
}

func ExampleSetTTL() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	cache := httpcache.New(client, nil) // stores only what says so
	weather := func(w http.ResponseWriter, r *http.Request) {
		city := r.URL.Query().Get("city")
		if city == "" {
			httpcache.NoStore(r)
			http.Error(w, "which city?", http.StatusBadRequest)
			return
		}
		httpcache.SetTTL(r, httpcache.OneMinute)
		httpcache.AddTags(r, "weather-"+city)
		fmt.Fprintf(w, "sunny in %s", city)
	}
	srv := httptest.NewServer(cache.Handler(http.HandlerFunc(weather)))
	defer srv.Close()

	show("GET", srv.URL+"/?city=Rome")
	show("GET", srv.URL+"/?city=Rome")
	if err := cache.PurgeTags(context.Background(), "weather-Rome"); err != nil {
		log.Fatal(err)
	}
	show("GET", srv.URL+"/?city=Rome")
	// Output:
	// GET /?city=Rome: 200 Miss sunny in Rome
	// GET /?city=Rome: 200 Hit sunny in Rome
	// GET /?city=Rome: 200 Miss sunny in Rome
}

func ExampleCache_Purge() {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	cache := httpcache.New(client, &httpcache.Options{TTL: time.Hour})
	srv := httptest.NewServer(cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "page")
	})))
	defer srv.Close()

	show("GET", srv.URL+"/users?limit=20&skip=0")
	show("GET", srv.URL+"/users?skip=0&limit=20")
	if err := cache.Purge(context.Background(), "/users?skip=0&limit=20"); err != nil {
		log.Fatal(err)
	}
	show("GET", srv.URL+"/users?limit=20&skip=0")
	// Output:
	// GET /users?limit=20&skip=0: 200 Miss page
	// GET /users?skip=0&limit=20: 200 Hit page
	// GET /users?limit=20&skip=0: 200 Miss page
}
