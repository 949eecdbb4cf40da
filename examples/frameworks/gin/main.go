// Command gin caches the answers of a Gin engine. The two lines that it takes are marked. Gin's middlewares are no handlers of net/http, so
// the cache is around the engine, which is one.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/httpcache"
)

func main() {
	client := cachify.New(cachify.Memory(), nil) // or cachify.Redis(rdb)
	defer client.Close()
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", newRouter(client)))
}

func newRouter(client *cachify.Client) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) }))
	router.GET("/users/:id", func(c *gin.Context) {
		httpcache.AddTags(c.Request, "users")
		c.String(http.StatusOK, fmt.Sprintf("user %s at %s", c.Param("id"), time.Now().Format(time.RFC3339Nano)))
	})
	router.PUT("/users/:id", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	router.GET("/events", func(c *gin.Context) {
		c.Stream(func(io.Writer) bool {
			c.SSEvent("tick", time.Now().Format(time.RFC3339))
			return false // one is enough to see
		})
	})
	router.GET("/panic", func(*gin.Context) { panic("a handler's bug") })
	cache := httpcache.New(client, &httpcache.Options{TTL: 5 * time.Minute}) // 1
	return cache.Handler(router)                                             // 2
}
