package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/countersign-io/countersign/internal/eval/score"
)

// The plot: one panel an attacker, side by side in rows of two. TPR below floor is of no use to anybody and not shown.
const (
	panelWidth, panelHeight = 360, 260
	marginLeft, marginTop   = 56, 64
	gap                     = 70
	floor                   = 0.5
)

// strokes tell the scores apart by dashes as well as by colour, which print and some eyes lose.
var strokes = []struct{ class, dash string }{{"a", ""}, {"b", "6 4"}, {"c", "2 3"}, {"d", "10 3 2 3"}}

// style follows the reader's light or dark scheme.
const style = `
  .sheet { fill: #ffffff } .ink { fill: #1b1f24 } .dim { fill: #57606a } .grid { stroke: #d0d7de; stroke-width: 1 }
  .frame { stroke: #57606a; fill: none } .line { fill: none; stroke-width: 2 }
  .a { stroke: #0a58ca } .b { stroke: #b35900 } .c { stroke: #1a7f37 } .d { stroke: #8250df }
  text { font: 12px system-ui, sans-serif } .title { font-weight: 600; font-size: 14px }
  @media (prefers-color-scheme: dark) {
    .sheet { fill: #0d1117 } .ink { fill: #e6edf3 } .dim { fill: #9da7b3 } .grid { stroke: #30363d } .frame { stroke: #9da7b3 }
    .a { stroke: #79b8ff } .b { stroke: #ffab70 } .c { stroke: #56d364 } .d { stroke: #d2a8ff }
  }
`

// SVG draws TPR against the median re-authentication rate after the longest history, one panel an attacker.
func (r *Report) SVG(w io.Writer) error {
	attackers, scorers := r.attackers(), r.scorers()
	rows := (len(attackers) + 1) / 2
	width := 2*(panelWidth+gap) + marginLeft
	height := marginTop + rows*(panelHeight+gap) + 60
	var b strings.Builder
	title := fmt.Sprintf("TPR against median re-authentication rate after %d logins", score.Longest)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", width, height, title)
	fmt.Fprintf(&b, "<style>%s</style>\n<rect class=\"sheet\" width=\"%d\" height=\"%d\"/>\n", style, width, height)
	about := fmt.Sprintf("seed %d, %d users, %d days, simulated", r.Seed, r.Users, r.Days)
	if r.RBA != nil {
		about = fmt.Sprintf("%d users of the public RBA data set", r.Users)
	}
	fmt.Fprintf(&b, `<text class="ink title" x="%d" y="24">%s; %s</text>`+"\n", marginLeft, title, about)
	for i, attacker := range attackers {
		x, y := marginLeft+i%2*(panelWidth+gap), marginTop+i/2*(panelHeight+gap)
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", x, y)
		axes(&b, attacker)
		for k, scorer := range scorers {
			if c := r.curve(scorer, attacker); c != nil {
				trail(&b, c.Trace, k)
			}
		}
		b.WriteString("</g>\n")
	}
	for k, scorer := range scorers {
		x, y := marginLeft+k*280, height-24
		s := strokes[k%len(strokes)]
		fmt.Fprintf(&b, `<line class="line %s" stroke-dasharray="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`, s.class, s.dash, x, y-4, x+32, y-4)
		fmt.Fprintf(&b, `<text class="ink" x="%d" y="%d">%s</text>`+"\n", x+40, y, html.EscapeString(scorer))
	}
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the curves: %w", err)
	}
	return nil
}

func (r *Report) attackers() (list []string) {
	seen := map[string]bool{}
	for i := range r.Curves {
		if a := r.Curves[i].Attacker; !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

func (r *Report) curve(scorer, attacker string) *Curve {
	for i := range r.Curves {
		if c := &r.Curves[i]; c.Scorer == scorer && c.Attacker == attacker {
			return c
		}
	}
	return nil
}

// axes draws the frame of a panel: the rate from 0 to 1 to the right, TPR from floor to 1 upwards.
func axes(b *strings.Builder, attacker string) {
	for i := range 6 {
		share := float64(i) / 5
		x, y := share*panelWidth, (1-share)*panelHeight
		fmt.Fprintf(b, `<path class="grid" d="M%.1f 0V%dM0 %.1fH%d"/>`, x, panelHeight, y, panelWidth)
		fmt.Fprintf(b, `<text class="dim" x="%.1f" y="%d" text-anchor="middle">%.1f</text>`, x, panelHeight+16, share)
		fmt.Fprintf(b, `<text class="dim" x="-8" y="%.1f" text-anchor="end">%.2f</text>`+"\n", y+4, floor+share*(1-floor))
	}
	fmt.Fprintf(b, `<rect class="frame" width="%d" height="%d"/>`, panelWidth, panelHeight)
	fmt.Fprintf(b, `<text class="ink title" x="0" y="-8">%s</text>`, html.EscapeString(strings.ReplaceAll(attacker, "_", " ")))
	fmt.Fprintf(b, `<text class="dim" x="%d" y="%d" text-anchor="middle">median re-authentication rate</text>`, panelWidth/2, panelHeight+34)
	fmt.Fprintf(b, `<text class="dim" transform="translate(-42 %d) rotate(-90)" text-anchor="middle">true positive rate</text>`+"\n", panelHeight/2)
}

// trail draws one score's curve, where it is above the floor.
func trail(b *strings.Builder, trace []score.Rate, k int) {
	var points []string
	for _, r := range trace {
		if r.TPR >= floor {
			points = append(points, fmt.Sprintf("%.1f,%.1f", r.Rate*panelWidth, (1-(r.TPR-floor)/(1-floor))*panelHeight))
		}
	}
	if len(points) == 0 {
		return
	}
	s := strokes[k%len(strokes)]
	fmt.Fprintf(b, `<polyline class="line %s" stroke-dasharray="%s" points="%s"/>`+"\n", s.class, s.dash, strings.Join(points, " "))
}
