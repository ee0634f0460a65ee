package bank

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"

	"github.com/countersign-io/countersign/examples/bank/idp"
	"github.com/countersign-io/countersign/stepup"
)

// Config configures a [Bank].
type Config struct {
	// Listener is where Run serves. The bank closes it.
	Listener net.Listener
	// BaseURL is how browsers reach the bank; default http:// and the listener's address. It must not end in a slash.
	BaseURL string
	// Index is what is required of whom, filled by a feed such as stepup/kafka. Receipts may be nil.
	Index    *stepup.Index
	Receipts stepup.Receipts
	// Stale is the guard's policy while the index is not fresh. Default FailClosed: it is a bank.
	Stale stepup.StalePolicy

	// Tenant and Users are the people of the make-believe identity provider. Default: DemoUsers in tenant "acme".
	Tenant string
	Users  []User
	// Events is where sign-ins and session uses are reported; an empty URL reports none.
	Events Events
	// Demo lets callers from this machine pretend to be somewhere else, by the header X-Demo-From or the page's own
	// buttons, and the sign-in page tell the password if it is everybody's DemoPassword. Never use it where strangers can
	// reach the bank.
	Demo bool
	// Places are where callers may pretend to be, by name. Default: DemoPlaces.
	Places map[string]Place
	// Logger is told what is wrong; nil is fine.
	Logger *slog.Logger
}

// Events says where to report to.
type Events struct {
	// URL is countersign's ingest endpoint, such as http://127.0.0.1:8081/v1/events.
	URL string
	// Token is the bearer token for it.
	Token string
}

// User is a customer, who signs in with a password and perhaps more.
type User struct {
	idp.User
	// Home is the place the user is at in the demo unless a request says otherwise.
	Home string
}

// Place is somewhere a demo caller may pretend to be.
type Place struct {
	IP            netip.Addr
	Lat, Lon      float64
	City, Country string
}

// DemoPassword is everybody's.
const DemoPassword = "correct horse"

// DemoUsers are the customers when the configuration names none.
func DemoUsers() []User {
	return []User{
		{User: idp.User{ID: "ada", Name: "Ada Lovelace", Password: DemoPassword}, Home: "berlin"},
		{User: idp.User{ID: "grace", Name: "Grace Hopper", Password: DemoPassword}, Home: "newyork"},
	}
}

// DemoPlaces are cities with addresses from the ranges for documentation (RFC 5737), so that no database knows better.
func DemoPlaces() map[string]Place {
	return map[string]Place{
		"berlin":  {netip.MustParseAddr("192.0.2.17"), 52.52, 13.405, "Berlin", "DE"},
		"newyork": {netip.MustParseAddr("198.51.100.17"), 40.713, -74.006, "New York", "US"},
		"tokyo":   {netip.MustParseAddr("203.0.113.17"), 35.677, 139.65, "Tokyo", "JP"},
	}
}

func (c *Config) complete() error {
	var problems []error
	if c.Index == nil {
		problems = append(problems, errors.New("config.Index: is missing, make one with stepup.NewIndex"))
	}
	if c.Listener == nil && c.BaseURL == "" {
		problems = append(problems, errors.New("config.Listener, config.BaseURL: give one of them"))
	}
	if c.BaseURL == "" && c.Listener != nil {
		c.BaseURL = "http://" + c.Listener.Addr().String()
	}
	if u, err := url.Parse(c.BaseURL); err != nil || u.Path != "" || c.BaseURL != "" && u.Host == "" {
		problems = append(problems, fmt.Errorf("BaseURL: %q must be scheme and host", c.BaseURL))
	}
	if c.Stale == 0 {
		c.Stale = stepup.FailClosed
	}
	if c.Tenant == "" {
		c.Tenant = "acme"
	}
	if c.Users == nil {
		c.Users = DemoUsers()
	}
	if c.Places == nil {
		c.Places = DemoPlaces()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(problems...)
}
