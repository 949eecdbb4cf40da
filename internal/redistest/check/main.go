// Command check says in one line whether the tests on a real server will run. "go test" does not show
// what tests that pass have to say.
package main

import (
	"fmt"

	"github.com/go-cachify/cachify/internal/redistest"
)

func main() { fmt.Println(redistest.Availability()) }
