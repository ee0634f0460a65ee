package backtest

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.css
var style string

//go:embed report.html.tmpl
var page string

// document is the page as a template. html/template escapes whatever the report holds: names, user agents and
// applications are attackers' to choose. What the page may load is nothing, and the only style it may have is ours.
var document = template.Must(template.New("report").Funcs(template.FuncMap{
	"style":  func() template.CSS { return template.CSS(style) }, //nolint:gosec // embedded
	"policy": func() string { return contentPolicy },
	"cells":  pairCells,
	"counts": countRows,
	"found":  findingCells,
	"chart":  chartOf,
	"label":  label,
	"list":   func(d Differences, title string) listed { return listed{d, title} },
}).Parse(page))

// listed is a list of differences with its title.
type listed struct {
	Differences
	Title string
}

// contentPolicy allows the page its own style, by its hash, and nothing else.
var contentPolicy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}()

// WriteHTML writes the report as one page that loads nothing and runs nothing.
func (r *Report) WriteHTML(w io.Writer) error {
	var b bytes.Buffer // so that an error leaves no half of a page
	if err := document.Execute(&b, r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// chart is the interrupts of each day of both sides, as bars of a drawing of Width by chartHeight.
type chart struct {
	Width int
	Most  uint64
	Bars  []bar
}

// bar is one day: the left edge of its two bars, and their tops.
type bar struct {
	X              int
	NewTop, OldTop int
	NewTall        int
	OldTall        int
	Day            string
	New, Old       uint64
}

const (
	chartHeight = 120
	barWidth    = 6
	dayWidth    = 2*barWidth + 4
)

// chartOf draws the days; nil when nobody is interrupted on any.
func chartOf(days []DayLine) *chart {
	c := &chart{Width: len(days) * dayWidth}
	for _, d := range days {
		c.Most = max(c.Most, d.New.Interrupts(), d.Old.Interrupts())
	}
	if c.Most == 0 {
		return nil
	}
	for i, d := range days {
		b := bar{X: i * dayWidth, Day: d.Day, New: d.New.Interrupts(), Old: d.Old.Interrupts()}
		b.NewTall, b.OldTall = int(b.New*chartHeight/c.Most), int(b.Old*chartHeight/c.Most)
		b.NewTop, b.OldTop = chartHeight-b.NewTall, chartHeight-b.OldTall
		c.Bars = append(c.Bars, b)
	}
	return c
}
