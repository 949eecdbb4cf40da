package main

import (
	"fmt"
	"html"
	"strings"

	"github.com/go-cachify/cachify/benchmarks/results"
)

// A chart has a bar for each library and case: its speed as a multiple of another's.
type chart struct{ file, work, base, title string }

var charts = []chart{
	{"hit.svg", "hit", goRedis, "Hits in Redis: calls per second, as a multiple of go-redis"},
	{"near-shared.svg", "near shared", otter, "Near hits, shared: calls per second, as a multiple of otter"},
	{"near-decoded.svg", "near decoded", rueidis, "Near hits, decoded: calls per second, as a multiple of rueidis"},
	{"miss.svg", "miss", goRedis, "Miss and fill: calls per second, as a multiple of go-redis"},
	{"many.svg", "many", goRedis, "A hundred hits in one call: calls per second, as a multiple of go-redis"},
}

const (
	width    = 720
	labels   = 190 // left of the bars
	values   = 60  // right of them, in a column that the base's line does not cross
	rowSize  = 20
	headSize = 28
)

// style follows the reader's setting.
const style = `text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.bar{fill:#9aa4af}.ours{fill:#0969da}.base{stroke:#1f2328;stroke-dasharray:3 3}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.ours{fill:#4493f8}.base{stroke:#e6edf3}}`

func (c chart) draw(r *results.Run) string {
	var body strings.Builder
	y, scale := headSize, float64(width-labels-values)/c.longest(r)
	text := func(x, y int, class, anchor, s string) {
		fmt.Fprintf(&body, `<text x="%d" y="%d" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, html.EscapeString(s))
	}
	text(0, 16, "title", "start", c.title)
	for _, kase := range r.Cases(c.work) {
		text(labels, y+18, "title", "start", kase)
		y += headSize
		top := y
		for _, l := range names(r) {
			speed, ok := r.Ratio(c.work, kase, "ns", c.base, l)
			if !ok {
				continue
			}
			class := "bar"
			if l == cachify {
				class = "ours"
			}
			text(labels-8, y+14, "name", "end", l)
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/>`+"\n", labels, y+3, speed*scale, rowSize-6, class)
			text(width-4, y+14, "value", "end", fmt.Sprintf("%.2f", speed))
			y += rowSize
		}
		x := labels + int(scale)
		fmt.Fprintf(&body, `<line x1="%d" y1="%d" x2="%d" y2="%d" class="base"/>`+"\n", x, top, x, y)
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n<style>%s</style>\n%s</svg>\n",
		width, y+8, width, y+8, html.EscapeString(c.title), style, body.String())
}

// longest is the greatest multiple in the chart, at least 1 for the base's own line.
func (c chart) longest(r *results.Run) float64 {
	longest := 1.0
	for _, kase := range r.Cases(c.work) {
		for _, l := range names(r) {
			if speed, ok := r.Ratio(c.work, kase, "ns", c.base, l); ok {
				longest = max(longest, speed)
			}
		}
	}
	return longest
}
