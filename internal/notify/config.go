package notify

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/outbound"
)

// Config says who is told of what. Without targets nobody is, and nothing is read.
type Config struct {
	// Severity is the least severity of a finding that belongs to an incident.
	Severity events.Severity  `yaml:"severity"`
	Targets  []Target         `yaml:"targets"`
	Routes   []incident.Route `yaml:"routes"`
	// DashboardURL is the base of the page, for the link in messages; "" leaves the link out.
	DashboardURL string `yaml:"dashboard_url"`
	// Window is how long an incident takes in further findings of its user, and after what silence it is over when nothing is
	// required of the user.
	Window time.Duration `yaml:"window"`
	// TellWithin is how old an incident's newest event may be for people to be told of it: what is found in a backfill, or
	// after a longer outage, is kept and told to nobody.
	TellWithin time.Duration `yaml:"tell_within"`
	// GroupWait is how long the first message of an incident waits for more findings.
	GroupWait time.Duration `yaml:"group_wait"`
	// MaxIncidents bounds the incidents that are held; what comes beyond is told of in one for each tenant.
	MaxIncidents int `yaml:"max_incidents"`
	// RetryMin and RetryMax are the shortest and the longest pause between two tries; MaxAge is after what time a message goes to
	// the dead letters.
	RetryMin time.Duration `yaml:"retry_min"`
	RetryMax time.Duration `yaml:"retry_max"`
	MaxAge   time.Duration `yaml:"max_age"`
	// TitleTemplate and TextTemplate are text/template over [Message]; "" is the default.
	TitleTemplate string `yaml:"title_template"`
	TextTemplate  string `yaml:"text_template"`
	// Group is the consumer group in which the couriers agree on who sends.
	Group          string        `yaml:"group"`
	SessionTimeout time.Duration `yaml:"session_timeout"`
	// Outbound is where HTTP targets may be.
	Outbound outbound.Config `yaml:"outbound"`
}

// The types of targets.
const (
	TypeAlertmanager = "alertmanager"
	TypeWebhook      = "webhook"
	TypeSyslog       = "syslog"
	TypeSplunk       = "splunk"
	TypeTeams        = "teams"
	TypeShoutrrr     = "shoutrrr"
)

// Types lists them.
var Types = []string{TypeAlertmanager, TypeWebhook, TypeSyslog, TypeSplunk, TypeTeams, TypeShoutrrr}

// Target is where messages go. What is secret is in a file, which is read anew for each message, and is shown nowhere.
type Target struct {
	// Name is how routes, metrics and dead letters call it.
	Name string `yaml:"name"`
	Type string `yaml:"type"`
	// URL is the address of alertmanager (its base), webhook and splunk (its base), and syslog: udp://, tcp:// or tls://host:port.
	URL string `yaml:"url"`
	// URLFile holds the address of teams and shoutrrr, which is a secret.
	URLFile string `yaml:"url_file"`
	// SecretFile holds the secrets of a webhook, whsec_, one in a line; TokenFile the token of splunk, and the bearer token of
	// alertmanager, which may do without.
	SecretFile string `yaml:"secret_file"`
	TokenFile  string `yaml:"token_file"`
	// Rate is how many messages a minute it gets; what exceeds becomes one summary. 0 is the type's own: no bound for
	// alertmanager, syslog and splunk, 10 for the others.
	Rate int `yaml:"rate"`
}

// DefaultConfig tells nobody.
func DefaultConfig() Config {
	return Config{
		Severity: events.Medium, Window: time.Hour, TellWithin: 24 * time.Hour, GroupWait: 5 * time.Second, MaxIncidents: 10_000,
		RetryMin: time.Second, RetryMax: 5 * time.Minute, MaxAge: 24 * time.Hour,
		Group: "countersign.courier.notify", SessionTimeout: 10 * time.Second, Outbound: outbound.DefaultConfig(),
	}
}

// Validate reports every problem at once. It opens no file.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	between := func(name string, d, least, most time.Duration) {
		if d < least || d > most {
			add("%s: is %v, must be between %v and %v", name, d, least, most)
		}
	}
	if c.Severity.Rank() == 0 {
		add("severity: is %.40q, must be one of %s", c.Severity, events.Severities)
	}
	between("window", c.Window, time.Minute, 7*24*time.Hour)
	between("tell_within", c.TellWithin, time.Minute, 400*24*time.Hour)
	between("group_wait", c.GroupWait, 0, 10*time.Minute)
	between("retry_min", c.RetryMin, 10*time.Millisecond, time.Minute)
	between("retry_max", c.RetryMax, c.RetryMin, time.Hour)
	between("max_age", c.MaxAge, time.Minute, 30*24*time.Hour)
	between("session_timeout", c.SessionTimeout, time.Second, 10*time.Minute)
	if c.MaxIncidents < 10 || c.MaxIncidents > 100_000 {
		add("max_incidents: is %d, must be between 10 and 100000", c.MaxIncidents)
	}
	if c.Group == "" {
		add("group: is empty, must name the consumer group")
	}
	if c.DashboardURL != "" {
		if u, err := url.Parse(c.DashboardURL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			add("dashboard_url: must be a plain http or https address")
		}
	}
	guard, err := outbound.NewGuard(c.Outbound)
	if err != nil {
		add("outbound.%w", err)
	}
	if _, err := newTemplates(c); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.validateTargets(guard), c.validateRoutes())...)
}

func (c Config) validateTargets(guard *outbound.Guard) error {
	var errs []error
	if len(c.Targets) > 100 {
		errs = append(errs, fmt.Errorf("targets: has %d, at most 100 are allowed", len(c.Targets)))
	}
	for i := range c.Targets {
		t := &c.Targets[i]
		path := fmt.Sprintf("targets[%d]", i)
		if slices.ContainsFunc(c.Targets[:i], func(o Target) bool { return o.Name == t.Name }) {
			errs = append(errs, fmt.Errorf("%s.name: %.60q is there twice", path, t.Name))
		}
		for _, err := range t.problems(guard) {
			errs = append(errs, fmt.Errorf("%s.%w", path, err))
		}
	}
	return errors.Join(errs...)
}

func (c Config) validateRoutes() error {
	var errs []error
	if len(c.Routes) > 200 {
		errs = append(errs, fmt.Errorf("routes: has %d, at most 200 are allowed", len(c.Routes)))
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		if err := r.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("routes[%d].%w", i, err))
		}
		for _, to := range r.To {
			if !slices.ContainsFunc(c.Targets, func(t Target) bool { return t.Name == to }) {
				errs = append(errs, fmt.Errorf("routes[%d].to: %.60q is no target", i, to))
			}
		}
	}
	if len(c.Targets) > 0 && len(c.Routes) == 0 {
		errs = append(errs, errors.New("routes: is empty, must say what the targets are told of"))
	}
	return errors.Join(errs...)
}

func validName(name string) bool {
	return name != "" && len(name) <= 60 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// problems of one target; guard is nil when the configuration of outbound is wrong itself.
func (t *Target) problems(guard *outbound.Guard) []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !validName(t.Name) {
		add("name: is %.60q, must have 1 to 60 of the letters a-z and A-Z, digits, dot, dash and underscore", t.Name)
	}
	if t.Rate < 0 || t.Rate > 100_000 {
		add("rate: is %d, must be between 0 and 100000", t.Rate)
	}
	fields := []struct {
		name, value string
		needed, may bool
	}{
		{"url", t.URL, t.Type != TypeTeams && t.Type != TypeShoutrrr, false},
		{"url_file", t.URLFile, t.Type == TypeTeams || t.Type == TypeShoutrrr, false},
		{"secret_file", t.SecretFile, t.Type == TypeWebhook, false},
		{"token_file", t.TokenFile, t.Type == TypeSplunk, t.Type == TypeAlertmanager},
	}
	if !slices.Contains(Types, t.Type) {
		add("type: is %.40q, must be one of %s", t.Type, strings.Join(Types, ", "))
		return errs
	}
	for _, f := range fields {
		switch {
		case f.needed && f.value == "":
			add("%s: is empty, a %s needs it", f.name, t.Type)
		case !f.needed && !f.may && f.value != "":
			add("%s: means nothing for a %s", f.name, t.Type)
		}
	}
	if t.URL == "" || guard == nil {
		return errs
	}
	if t.Type == TypeSyslog {
		u, err := url.Parse(t.URL)
		if err != nil || !slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			add("url: must be udp://, tcp:// or tls:// with host and port")
		} else if _, _, err := net.SplitHostPort(u.Host); err != nil {
			add("url: must have host and port")
		}
	} else if err := guard.CheckURL(t.URL); err != nil {
		add("url: %w", allowing(err))
	}
	return errs
}

// limit is how many messages a minute the target gets; 0 is no bound.
func (t *Target) limit() int {
	machine := t.Type == TypeAlertmanager || t.Type == TypeSyslog || t.Type == TypeSplunk
	if t.Rate == 0 && !machine {
		return 10
	}
	return t.Rate
}
