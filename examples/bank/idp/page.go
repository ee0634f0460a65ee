package idp

import (
	_ "embed"
	"html/template"
	"net/http"
)

// method is a way to sign in, as the login page offers it.
type method struct {
	Class, Label string
	amr          []string
}

var methods = []method{
	{Password, "Password only", []string{"pwd"}},
	{MultiFactor, "Password and code from my phone", []string{"pwd", "otp", "mfa"}},
	{PhishingResistant, "Password and security key", []string{"pwd", "hwk", "mfa"}},
}

// page is the login page, or a page that only says something.
type page struct {
	Title, Note, Problem string
	Flow, Action, Hint   string
	Password             string // everybody's; "" tells nobody
	Users                []User
	Methods              []method
	Style                string
}

//go:embed login.html
var loginText string

//go:embed style.css
var style []byte

var login = template.Must(template.New("login").Parse(loginText))

func (p *Provider) page(w http.ResponseWriter, status int, l page) {
	l.Style = p.base.Path + "/style.css"
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = login.Execute(w, l) // the browser may have gone
}

func stylesheet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(style)
}
