// Command chi caches the answers of a chi router. The two lines that it takes are marked.
package main

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/httpcache"
)

func main() {
	client := cachify.New(cachify.Memory(), nil) // or cachify.Redis(rdb)
	defer client.Close()
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", newRouter(client)))
}

func newRouter(client *cachify.Client) http.Handler {
	router := chi.NewRouter()
	cache := httpcache.New(client, &httpcache.Options{TTL: 5 * time.Minute}) // 1
	router.Use(cache.Handler)                                                // 2
	router.Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
		httpcache.AddTags(r, "users")
		fmt.Fprintf(w, "user %s at %s", chi.URLParam(r, "id"), time.Now().Format(time.RFC3339Nano))
	})
	router.Put("/users/{id}", func(http.ResponseWriter, *http.Request) {})
	return router
}
