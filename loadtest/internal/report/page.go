package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/fanfare-ws/fanfare/loadtest/internal/result"
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
	//go:embed uplot/uPlot.iife.min.js
	uplotScript string
	//go:embed uplot/uPlot.min.css
	uplotStyle string
	//go:embed uplot/LICENSE
	uplotLicence string
)

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"count": Count,
	// A comment, which the template would leave out.
	"licence": func() template.HTML { return template.HTML("<!--\nuPlot\n\n" + uplotLicence + "\n-->") },
	"styles":  func() template.CSS { return template.CSS(uplotStyle + "\n" + pageStyle) },
	"uplot":   func() template.JS { return template.JS(uplotScript) },
	"script":  func() template.JS { return template.JS(pageScript) },
}).Parse(pageText))

// Page writes a result as one HTML page.
func Page(w io.Writer, r *result.Result) error {
	if err := pageTemplate.Execute(w, newView(r)); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
