package ssf

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// metadata is the transmitter configuration (SSF 1.0 §7.1).
type metadata struct {
	Issuer                string       `json:"issuer"`
	SpecVersion           string       `json:"spec_version"`
	JWKSURI               string       `json:"jwks_uri"`
	DeliveryMethods       []string     `json:"delivery_methods_supported"`
	ConfigurationEndpoint string       `json:"configuration_endpoint"`
	StatusEndpoint        string       `json:"status_endpoint"`
	AddSubjectEndpoint    string       `json:"add_subject_endpoint"`
	RemoveSubjectEndpoint string       `json:"remove_subject_endpoint"`
	VerificationEndpoint  string       `json:"verification_endpoint"`
	AuthorizationSchemes  []authScheme `json:"authorization_schemes"`
	DefaultSubjects       string       `json:"default_subjects"`
}

type authScheme struct {
	SpecURN string `json:"spec_urn"`
}

// cacheFor is how long what is public may be kept.
const cacheFor = 5 * time.Minute

// public is the Cache-Control of what anybody may keep for some time.
func public(age time.Duration) string { return fmt.Sprintf("public, max-age=%d", int(age.Seconds())) }

func (c Config) metadata(t Tenant) metadata {
	base := c.BaseURL + tenantPath(t.Name)
	return metadata{
		Issuer: c.Issuer(t.Name), SpecVersion: "1_0", JWKSURI: base + "jwks.json",
		DeliveryMethods:       []string{MethodPush, MethodPoll},
		ConfigurationEndpoint: base + "streams", StatusEndpoint: base + "status",
		AddSubjectEndpoint: base + "subjects/add", RemoveSubjectEndpoint: base + "subjects/remove",
		VerificationEndpoint: base + "verify", AuthorizationSchemes: []authScheme{{"urn:ietf:rfc:6749"}},
		DefaultSubjects: t.defaultSubjects(),
	}
}

func (t Tenant) defaultSubjects() string {
	if t.DefaultSubjects == "" {
		return SubjectsAll
	}
	return t.DefaultSubjects
}

// tenantPath is where a tenant's endpoints are.
func tenantPath(tenant string) string { return PathPrefix + tenant + "/" }

// pollURL is where the SETs of a stream are polled.
func (c Config) pollURL(s Stream) string {
	return c.BaseURL + tenantPath(s.Tenant) + "poll/" + s.ID
}

// serveMetadata is public: whatever Authorization comes along is not looked at.
func (h *Handler) serveMetadata(t Tenant) http.HandlerFunc {
	body, err := json.Marshal(h.cfg.metadata(t))
	return func(w http.ResponseWriter, _ *http.Request) {
		if err != nil { // there is nothing in it that cannot be marshalled
			http.Error(w, "", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", public(cacheFor))
		_, _ = w.Write(body) // the reader has gone
	}
}

func (h *Handler) serveKeys(t Tenant) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		jwks, etag := h.deps.Keys(t.Name)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", public(h.deps.KeysMaxAge))
		w.Header().Set("ETag", etag)
		if match := r.Header.Get("If-None-Match"); match == "*" || etag != "" && strings.Contains(match, etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(jwks) // the reader has gone
	}
}
