package api

import (
	"html/template"
	"net/http"
)

// signPage is a page around signing in. It is ours to the last letter, whatever a provider or a link says.
type signPage struct {
	Title, Text string
	// To is where a link leads, ToText what it says. At once sends the browser there.
	To, ToText string
	AtOnce     bool
}

var signTemplate = template.Must(template.New("sign").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{{- if .AtOnce}}
<meta http-equiv="refresh" content="0; url={{.To}}">
{{- end}}
<title>countersign: {{.Title}}</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/plain.css">
</head>
<body>
<main>
  <h1>{{.Title}}</h1>
  <p>{{.Text}}</p>
  {{- if .To}}
  <p><a href="{{.To}}">{{.ToText}}</a></p>
  {{- end}}
</main>
</body>
</html>
`))

func (p signPage) serve(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = signTemplate.Execute(w, p) // the reader has gone
}
