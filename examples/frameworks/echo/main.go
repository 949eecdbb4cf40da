// Command echo caches the answers of an Echo server. The two lines that it takes are marked.
package main

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/httpcache"
)

func main() {
	client := cachify.New(cachify.Memory(), nil) // or cachify.Redis(rdb)
	defer client.Close()
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", newRouter(client)))
}

func newRouter(client *cachify.Client) http.Handler {
	router := echo.New()
	cache := httpcache.New(client, &httpcache.Options{TTL: 5 * time.Minute}) // 1
	router.Use(echo.WrapMiddleware(cache.Handler))                           // 2
	router.GET("/users/:id", func(c echo.Context) error {
		if c.Param("id") == "0" {
			return echo.NewHTTPError(http.StatusNotFound, "there is no such user") // which Echo writes when the cache is done
		}
		httpcache.AddTags(c.Request(), "users")
		return c.String(http.StatusOK, fmt.Sprintf("user %s at %s", c.Param("id"), time.Now().Format(time.RFC3339Nano)))
	})
	router.PUT("/users/:id", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	return router
}
