package o365

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/source/foreign"
	"github.com/countersign-io/countersign/internal/source/upstream"
)

// The feed keeps contents for a week and tells of at most a day at once.
const (
	retention = 7 * 24 * time.Hour
	maxWindow = 24 * time.Hour
)

// contentTypes are the feeds of the API. Sign-ins and directory changes are in the first.
var contentTypes = []string{"Audit.AzureActiveDirectory", "Audit.General", "Audit.Exchange", "Audit.SharePoint", "DLP.All"}

// Config configures a [Poller].
type Config struct {
	// Name is the source's name. Tenant is the tenant's GUID.
	Name   string `yaml:"name"`
	Tenant string `yaml:"tenant"`
	// ClientID is the application that asks; the file holds its secret and is read again for every token.
	ClientID   string `yaml:"client_id"`
	SecretFile string `yaml:"secret_file"`
	// ContentTypes are the feeds that are asked for; default Audit.AzureActiveDirectory, which has all that is decoded.
	ContentTypes []string `yaml:"content_types"`
	// History is how far the first start goes back; default 24h, at most 168h.
	History time.Duration `yaml:"history"`
	// BaseURL is the API of the plan, default https://manage.office.com; AuthorityURL is who gives tokens, default
	// https://login.microsoftonline.com.
	BaseURL      string `yaml:"base_url"`
	AuthorityURL string `yaml:"authority_url"`
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	if len(c.ContentTypes) == 0 {
		c.ContentTypes = contentTypes[:1]
	}
	if c.History == 0 {
		c.History = 24 * time.Hour
	}
	if c.BaseURL == "" {
		c.BaseURL = "https://manage.office.com"
	}
	if c.AuthorityURL == "" {
		c.AuthorityURL = "https://login.microsoftonline.com"
	}
	c.Tenant = strings.ToLower(c.Tenant)
	c.BaseURL, c.AuthorityURL = strings.TrimSuffix(c.BaseURL, "/"), strings.TrimSuffix(c.AuthorityURL, "/")
	return c
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do".
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, field := range [][2]string{{"name", c.Name}, {"client_id", c.ClientID}, {"secret_file", c.SecretFile}} {
		if field[1] == "" {
			bad("%s: is missing", field[0])
		}
	}
	if !foreign.GUID(c.Tenant) {
		bad("tenant: is %.60q, use the tenant's GUID", c.Tenant)
	}
	for i, t := range c.ContentTypes {
		if !slices.Contains(contentTypes, t) {
			bad("content_types[%d]: is %.60q, use one of %s", i, t, strings.Join(contentTypes, ", "))
		}
		if slices.Index(c.ContentTypes, t) < i {
			bad("content_types[%d]: is there twice", i)
		}
	}
	if c.History < 0 || c.History > retention {
		bad("history: is %v, use 0s (a day) to %v, which is all that the API keeps", c.History, retention)
	}
	for _, field := range [][2]string{{"base_url", c.BaseURL}, {"authority_url", c.AuthorityURL}} {
		if field[1] == "" {
			continue // the default
		}
		if err := upstream.CheckBase(field[1]); err != nil {
			bad("%s: %w", field[0], err)
		}
	}
	return errors.Join(problems...)
}
