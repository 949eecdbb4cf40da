package main

import (
	"bufio"
	"fmt"
	"html/template"
	"net/http"

	"github.com/go-cachify/cachify/httpcache"
)

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<title>Users</title>
<h1>The first users</h1>
<ul>
{{- range .}}
<li><a href="/users/{{.ID}}">{{.Name}}</a></li>
{{- end}}
</ul>
`))

// page is cached for an hour, or until it is purged. Browsers may keep it for a minute, and ask with its ETag then.
func (a *api) page(w http.ResponseWriter, r *http.Request) {
	list, err := a.users.list(r.Context(), 0, 10)
	if err != nil {
		fail(w, r, err)
		return
	}
	httpcache.AddTags(r, listsTag)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := pageTemplate.Execute(w, list); err != nil {
		httpcache.NoStore(r) // half a page is none
	}
}

// events tells how many users there are, now and after each write, until the client goes. The cache passes it on as it is written.
func (a *api) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		count, changed := a.users.state()
		fmt.Fprintf(w, "event: users\ndata: %d\n\n", count)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// export is a download of any length. What is longer than httpcache.Options.MaxBody is passed on without being kept.
func (a *api) export(w http.ResponseWriter, r *http.Request) {
	rows, err := number(r, "rows", 1000)
	if err != nil || rows < 0 {
		writeError(w, http.StatusBadRequest, "rows must be a number")
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="users.csv"`)
	out := bufio.NewWriterSize(w, 32<<10)
	fmt.Fprintln(out, "id,name,email")
	for i := range rows {
		id := i%seeded + 1
		if _, err := fmt.Fprintf(out, "%d,User %d,user%d@example.com\n", id, id, id); err != nil {
			return // the client has gone
		}
	}
	_ = out.Flush()
}
