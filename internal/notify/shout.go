package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
)

// shout sends by shoutrrr. The library's services make HTTP clients of their own, most of which cannot be replaced by the
// guarded one. Therefore only services are allowed whose host is fixed and public, and mail, whose server the operator
// names; where a service takes a client it gets ours.
type shout struct {
	urlFile string
	client  *http.Client
	// since is when the call began that is under way, in nanoseconds; 0 when none is.
	since atomic.Int64
}

// service is what is allowed of a service of shoutrrr.
type service struct {
	dialect escape
	// hosts that the address may name, where it names one. With fill the first is meant when it names none: the library calls
	// nobody then.
	hosts []string
	fill  bool
	// banned are options that would make it format texts, or trust anybody.
	banned []string
	params func(m *Message) types.Params
}

const schemeOpsgenie = "opsgenie"

var services = map[string]service{
	"slack":      {dialect: slack, params: titled},
	"discord":    {dialect: markdown, banned: []string{"json"}, params: titled},
	"telegram":   {dialect: chat, hosts: []string{"telegram"}, banned: []string{"parsemode"}, params: titled},
	"googlechat": {dialect: chat, hosts: []string{"chat.googleapis.com"}, params: func(*Message) types.Params { return types.Params{} }},
	"pushover":   {dialect: chat, params: titled},
	"pushbullet": {dialect: chat, params: titled},
	"pagerduty":  {dialect: plain, hosts: []string{"events.pagerduty.com", "events.eu.pagerduty.com"}, fill: true, params: pagerduty},
	schemeOpsgenie: {
		dialect: plain, hosts: []string{"api.opsgenie.com", "api.eu.opsgenie.com"}, fill: true, params: opsgenie,
	},
	"smtp": {
		dialect: plain, banned: []string{"usehtml", "skiptlsverify", "subject", "title"},
		params: func(m *Message) types.Params {
			return types.Params{"title": mime.QEncoding.Encode("utf-8", m.TitleText)}
		},
	},
}

func titled(m *Message) types.Params { return types.Params{"title": m.TitleText} }

// pagerduty: the incident is the deduplication key, so that one incident there is one here.
func pagerduty(m *Message) types.Params {
	severity := map[events.Severity]string{events.Critical: "critical", events.High: "error", events.Medium: "warning"}[m.Severity]
	if severity == "" {
		severity = "info"
	}
	action := "trigger"
	if m.Phase == incident.Resolved {
		action = "resolve"
	}
	p := types.Params{"severity": severity, "action": action, "dedup_key": m.Incident.ID, "source": "countersign", "client": "countersign"}
	if m.Link != "" {
		p["client_url"] = m.Link
	}
	return p
}

func opsgenie(m *Message) types.Params {
	priority := map[events.Severity]string{events.Critical: "P1", events.High: "P2", events.Medium: "P3", events.Low: "P4"}[m.Severity]
	if priority == "" {
		priority = "P5"
	}
	return types.Params{"alias": m.Incident.ID, "priority": priority, "source": "countersign", "title": events.Cut(m.TitleText, 130)}
}

// read reads the address and says which service it is of. Errors do not quote it.
func (s *shout) read() (*url.URL, *service, error) {
	text, err := readSecret(s.urlFile)
	if err != nil {
		return nil, nil, err
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, nil, errors.New("holds no address of shoutrrr")
	}
	allowed, ok := services[u.Scheme]
	if !ok {
		names := make([]string, 0, len(services))
		for name := range services {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, nil, fmt.Errorf("its service is %.30q, must be one of %s", u.Scheme, strings.Join(names, ", "))
	}
	if allowed.fill {
		const https = "443"
		if port := u.Port(); port != "" && port != https {
			return nil, nil, errors.New("its port must be " + https)
		}
		u.Host = net.JoinHostPort(cmp.Or(u.Hostname(), allowed.hosts[0]), https)
	}
	if len(allowed.hosts) > 0 && !slices.Contains(allowed.hosts, u.Hostname()) {
		return nil, nil, fmt.Errorf("its host is none of %s", strings.Join(allowed.hosts, ", "))
	}
	for name := range u.Query() {
		if slices.Contains(allowed.banned, strings.ToLower(name)) {
			return nil, nil, fmt.Errorf("must not have the option %s", strings.ToLower(name))
		}
	}
	return u, &allowed, nil
}

// service makes the service of an address.
func (s *shout) service(u *url.URL) (types.Service, error) {
	svc, err := (&router.ServiceRouter{}).NewService(u.Scheme)
	if err == nil {
		err = svc.Initialize(u, quiet{})
	}
	if err != nil {
		return nil, fmt.Errorf("it is no right address of %s", u.Scheme) // the error may quote it
	}
	switch v := svc.(type) {
	case interface{ SetHTTPClient(client *http.Client) }:
		v.SetHTTPClient(s.client)
	case *discord.Service:
		v.HTTPClient = s.client
	case *pushover.Service:
		v.Client = s.client
	}
	return svc, nil
}

// check looks whether the address is right.
func (s *shout) check() (escape, error) {
	u, allowed, err := s.read()
	if err != nil {
		return nil, err
	}
	_, err = s.service(u)
	return allowed.dialect, err
}

func (s *shout) send(ctx context.Context, m *Message) error {
	u, allowed, err := s.read()
	if err != nil {
		return fmt.Errorf("reading the address: %w", err)
	}
	if u.Scheme == schemeOpsgenie && m.Phase == incident.Resolved {
		return nil // the library cannot close an alert, and a second one would be worse
	}
	svc, err := s.service(u)
	if err != nil {
		return fmt.Errorf("reading the address: %w", err)
	}
	// The library's calls cannot be ended, and some wait for ever: one that hangs must not be joined by many, nor stop all.
	const hopeless = 10 * time.Minute
	now, before := time.Now().UnixNano(), s.since.Load()
	if before != 0 && now-before < int64(hopeless) || !s.since.CompareAndSwap(before, now) {
		return errors.New("the message before is still under way")
	}
	text := m.Text
	if u.Scheme == "googlechat" || u.Scheme == "pagerduty" {
		text = m.TitleText + "\n" + m.Text
	}
	done := make(chan error, 1)
	params := allowed.params(m)
	go func() {
		defer s.since.CompareAndSwap(now, 0)
		done <- svc.Send(text, &params)
	}()
	const patience = 30 * time.Second
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-done:
		return judgeText(err)
	case <-timer.C:
		return errors.New("no answer in time")
	case <-ctx.Done():
		return ctx.Err()
	}
}

var statusText = regexp.MustCompile(`\b[45][0-9]{2}\b`)

// judgeText makes of the library's error what is known of it. Its text is not passed on: it may hold the address, and what the
// service answered.
func judgeText(err error) error {
	if err == nil {
		return nil
	}
	if status, convErr := strconv.Atoi(statusText.FindString(err.Error())); convErr == nil {
		return judge(status, "", time.Now())
	}
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return errors.New("no answer in time")
	}
	return errors.New("the service could not be reached, or did not take it")
}

// quiet keeps the library from writing anywhere.
type quiet struct{}

func (quiet) Print(...any)          {}
func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}
