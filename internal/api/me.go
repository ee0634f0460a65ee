package api

import (
	"context"
	"runtime/debug"

	"github.com/countersign-io/countersign/internal/events"
)

type nothing struct{}

type meAnswer struct{ Body Me }

// Me is who asks and what they may do.
type Me struct {
	Name       string     `json:"name" doc:"As the audit trail has it"`
	Via        events.Via `json:"via" enum:"link,oidc,token"`
	Roles      []string   `json:"roles" nullable:"false" doc:"viewer, analyst, admin; empty for a token with scopes of its own"`
	Scopes     []string   `json:"scopes" nullable:"false"`
	AllTenants bool       `json:"all_tenants" doc:"Whether every tenant may be seen"`
	Tenants    []string   `json:"tenants" nullable:"false" doc:"Those that may be seen; empty with all_tenants"`
	// SessionEnds is when the session or the token ends, when it does.
	SessionEnds events.Millis `json:"session_ends,omitempty"`
	Version     string        `json:"version" doc:"Of countersign"`
}

func (a *API) me(ctx context.Context, who *principal, _ *nothing) (*meAnswer, error) {
	m := Me{
		Name: who.name, Via: who.via, Roles: append([]string{}, who.roles...), Scopes: who.scopes(),
		AllTenants: who.tenants.All, Tenants: append([]string{}, who.tenants.Tenants...), Version: version(),
	}
	if v := visitOf(ctx); !v.ends.IsZero() {
		m.SessionEnds = events.MillisOf(v.ends)
	}
	return &meAnswer{m}, nil
}

// version is that of the program as it was built.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
