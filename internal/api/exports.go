package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

type exportQuestion struct {
	Kind string `path:"kind" enum:"findings,events,revocations,audit"`
	Window
	Format    string   `query:"format" enum:"csv,ndjson,parquet,ocsf" default:"ndjson" doc:"ocsf is NDJSON of OCSF 1.5 events"`
	User      string   `query:"user" maxLength:"256"`
	Severity  []string `query:"severity" enum:"info,low,medium,high,critical" maxItems:"5" doc:"Of findings: any of these"`
	Detection string   `query:"detection" maxLength:"64" doc:"Of findings"`
}

func (a *API) describeExport(api huma.API) {
	file := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	register(a, api, "export", "/v1/export/{kind}", "Take records out as a file, oldest first", ScopeExport, a.export,
		saying("A span with more records than the limit is refused before anything is sent. When something breaks later the connection "+
			"is cut, so that a short file never looks whole. Audit entries need the scope `audit` as well."),
		func(o *operation) {
			o.Responses = map[string]*huma.Response{"200": {
				Description: "The file",
				Content: map[string]*huma.MediaType{
					"text/csv": {Schema: file}, "application/x-ndjson": {Schema: file}, "application/vnd.apache.parquet": {Schema: file},
				},
			}}
		}, aside)
}

func (a *API) export(context.Context, *principal, *exportQuestion) (*huma.StreamResponse, error) {
	return nil, notConfigured("Exports are not available here.")
}
