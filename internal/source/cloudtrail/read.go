package cloudtrail

import (
	"github.com/mailru/easyjson/jlexer"

	"github.com/countersign-io/countersign/internal/source/foreign"
)

// record is a CloudTrail record as it came; every text is "" when the record did not say.
type record struct {
	id, time, source, name  string
	recipient               string
	ip, agent               string
	errorCode, errorMessage string
	who                     identity
	// What was asked and answered, in addition, and what a service told of its own, by path, such as "user.userId".
	request, response, extra, service map[string]string
}

// identity is who made a request.
type identity struct {
	kind, principal, account, name string
	provider, invokedBy            string
	// onBehalfOf is the id of a user of IAM Identity Center, credential that of the session with the access portal.
	onBehalfOf, credential string
}

// key is what kind of record it is.
func (r *record) key() string { return r.source + "/" + r.name }

func (r *record) read(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "eventID":
			r.id = foreign.Text(l)
		case "eventTime":
			r.time = foreign.Text(l)
		case "eventSource":
			r.source = foreign.Text(l)
		case "eventName":
			r.name = foreign.Text(l)
		case "recipientAccountId":
			r.recipient = foreign.Text(l)
		case "sourceIPAddress":
			r.ip = foreign.Text(l)
		case "userAgent":
			r.agent = foreign.Text(l)
		case "errorCode":
			r.errorCode = foreign.Text(l)
		case "errorMessage":
			r.errorMessage = foreign.Text(l)
		case "userIdentity":
			r.who.read(l)
		case "requestParameters":
			r.request = flat(l)
		case "responseElements":
			r.response = flat(l)
		case "additionalEventData":
			r.extra = flat(l)
		case "serviceEventDetails":
			r.service = flat(l)
		default:
			l.SkipRecursive()
		}
	})
}

func (w *identity) read(l *jlexer.Lexer) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		switch key {
		case "type":
			w.kind = foreign.Text(l)
		case "principalId":
			w.principal = foreign.Text(l)
		case "accountId":
			w.account = foreign.Text(l)
		case "userName":
			w.name = foreign.Text(l)
		case "identityProvider":
			w.provider = foreign.Text(l)
		case "invokedBy":
			w.invokedBy = foreign.Text(l)
		case "credentialId":
			w.credential = foreign.Text(l)
		case "onBehalfOf":
			foreign.Object(l, func(l *jlexer.Lexer, key string) {
				if key == "userId" {
					w.onBehalfOf = foreign.Text(l)
					return
				}
				l.SkipRecursive()
			})
		default:
			l.SkipRecursive()
		}
	})
}

// Limits of what is kept of an object that every service shapes as it likes.
const (
	maxMembers = 64
	maxDepth   = 3
)

// flat reads the texts, numbers and flags of an object, and of the objects in it, by path.
func flat(l *jlexer.Lexer) map[string]string {
	into := map[string]string{}
	flatten(l, "", maxDepth, into)
	return into
}

func flatten(l *jlexer.Lexer, path string, depth int, into map[string]string) {
	foreign.Object(l, func(l *jlexer.Lexer, key string) {
		at := path + key
		switch {
		case l.CurrentToken() == jlexer.TokenDelim && l.IsDelim('{') && depth > 1:
			flatten(l, at+".", depth-1, into)
			return
		case l.CurrentToken() == jlexer.TokenBool:
			if v := "false"; len(into) < maxMembers {
				if l.Bool() {
					v = "true"
				}
				into[at] = v
				return
			}
		}
		if v := foreign.Text(l); v != "" && len(into) < maxMembers {
			into[at] = v
		}
	})
}
