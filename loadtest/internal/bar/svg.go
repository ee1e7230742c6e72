package bar

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// What the picture measures, in pixels.
const (
	labels  = 330 // width of what is left of the bars
	plotted = 400 // width of a ratio of 1
	lineup  = 26  // height of a line
	width   = labels + plotted*3/2 + 40
)

// Draw writes the ratios to the floor as a picture: how long each is, and where its
// bar stands.
func (r *Report) Draw(w io.Writer) error {
	var ratios []*Line
	for i := range r.Lines {
		if r.Lines[i].Ratio {
			ratios = append(ratios, &r.Lines[i])
		}
	}
	height := lineup*len(ratios) + 62
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="system-ui, sans-serif" font-size="13">`+"\n", width, height, width)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="12" y="22" font-size="14" fill="#222">A gateway beside the plainest possible server (1.0: as much)</text>`+"\n")
	at := func(ratio float64) float64 { return labels + plotted*min(ratio, 1.5) }
	for i, l := range ratios {
		y := 38 + lineup*i
		fill := "#2a7f62"
		if !l.Held() {
			fill = "#b3412f"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#222">%s</text>`+"\n", labels-8, y+15, escape(l.What))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="16" fill="%s"/>`+"\n", labels, y+3, at(l.Measured)-labels, fill)
		fmt.Fprintf(&b, `<path d="M%.1f %dv20" stroke="#222" stroke-width="2"/>`+"\n", at(l.Bar), y+1)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#222">%s</text>`+"\n", max(at(l.Measured), at(l.Bar))+6, y+15, amount(l.Measured))
	}
	bottom := 38 + lineup*len(ratios)
	fmt.Fprintf(&b, `<path d="M%.1f 34V%d" stroke="#888" stroke-dasharray="3 3"/>`+"\n", at(1), bottom)
	fmt.Fprintf(&b, `<text x="12" y="%d" fill="#666">black mark: the most that is allowed; dashed: the floor itself; commit %s</text>`+"\n</svg>\n", bottom+17, escape(r.Machine.Revision))
	_, err := io.WriteString(w, b.String())
	return err
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder takes everything
	return b.String()
}
