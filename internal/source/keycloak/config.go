package keycloak

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// Config configures a [Poller].
type Config struct {
	// Name is the source's name. Realm is the realm's name, which is not always its id.
	Name  string `yaml:"name"`
	Realm string `yaml:"realm"`
	// BaseURL is where Keycloak is, such as https://sso.example.com; versions before 17 are below /auth there.
	BaseURL string `yaml:"base_url"`
	// ClientID is a client of the realm with a service account; the file holds its secret and is read again for every
	// token.
	ClientID   string `yaml:"client_id"`
	SecretFile string `yaml:"secret_file"`
	// AdminEvents asks for the admin events as well.
	AdminEvents bool `yaml:"admin_events"`
	// History is how far the first start goes back; default 24h.
	History time.Duration `yaml:"history"`
	// PageSize is how many events are asked for at once; default 500.
	PageSize int `yaml:"page_size"`
}

// maxPage bounds a page: Keycloak holds all of it in memory.
const maxPage = 10_000

func (c Config) withDefaults() Config {
	if c.History == 0 {
		c.History = 24 * time.Hour
	}
	if c.PageSize == 0 {
		c.PageSize = 500
	}
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	return c
}

// Validate reports every problem of c at once, each as "field.path: problem, what to do".
func (c Config) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, field := range [][2]string{{"name", c.Name}, {"realm", c.Realm}, {"client_id", c.ClientID}, {"secret_file", c.SecretFile}} {
		if field[1] == "" {
			bad("%s: is missing", field[0])
		}
	}
	if err := upstream.CheckBase(c.BaseURL); err != nil {
		bad("base_url: %w", err)
	}
	const longest = 10 * 365 * 24 * time.Hour
	if c.History < 0 || c.History > longest {
		bad("history: is %v, use 0s (a day) to %v", c.History, longest)
	}
	if c.PageSize < 0 || c.PageSize > maxPage {
		bad("page_size: is %d, use 0 (500) to %d", c.PageSize, maxPage)
	}
	return errors.Join(problems...)
}
