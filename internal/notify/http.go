package notify

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
	"github.com/countersign-io/countersign/internal/outbound"
	"github.com/countersign-io/countersign/internal/webhook"
)

// alertmanager posts to the API v2 of Prometheus Alertmanager. An alert is known by its labels, so these are the incident's
// own; what changes is in annotations.
type alertmanager struct {
	client          *http.Client
	base, tokenFile string
}

type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    string            `json:"startsAt"`
	EndsAt      string            `json:"endsAt"`
	Generator   string            `json:"generatorURL,omitempty"`
}

// firingFor is when Alertmanager takes an alert for over that nobody ended, unless the requirement says.
const firingFor = 24 * time.Hour

func (s *alertmanager) send(ctx context.Context, m *Message) error {
	ends := m.Opened.Time().Add(firingFor)
	switch {
	case m.Phase == incident.Resolved:
		ends = m.Closed.Time()
	case m.Phase == phaseTest:
		ends = m.Opened.Time().Add(5 * time.Minute)
	case m.Expires != 0:
		ends = m.Expires.Time()
	}
	starts := m.Since.Time()
	if !ends.After(starts) {
		ends = starts.Add(time.Second) // Alertmanager refuses what ends before it starts
	}
	labels := map[string]string{"alertname": "CountersignIncident", "incident": m.Incident.ID, "kind": string(m.Kind)}
	for name, value := range map[string]string{"tenant": plain(m.Tenant), "user": plain(m.User)} {
		if value != "" {
			labels[name] = value
		}
	}
	a := alert{
		Labels: labels, StartsAt: starts.UTC().Format(time.RFC3339Nano), EndsAt: ends.UTC().Format(time.RFC3339Nano), Generator: m.Link,
		Annotations: map[string]string{"severity": string(m.Severity), "summary": m.TitleText, "description": m.Text},
	}
	header := http.Header{}
	if s.tokenFile != "" {
		token, err := readSecret(s.tokenFile)
		if err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
		header.Set("Authorization", "Bearer "+token)
	}
	return post(ctx, s.client, strings.TrimSuffix(s.base, "/")+"/api/v2/alerts", encode([]alert{a}), header)
}

// hook posts the message as JSON, signed by the Standard Webhooks convention.
type hook struct {
	client          *http.Client
	url, secretFile string
}

// payload is a webhook's body: type, timestamp and data, as the convention has it.
type payload struct {
	Type      string   `json:"type"`
	Timestamp string   `json:"timestamp"`
	Data      *Message `json:"data"`
}

func (s *hook) send(ctx context.Context, m *Message) error {
	secrets, err := webhook.ReadSecrets(s.secretFile)
	if err != nil {
		return fmt.Errorf("reading the secrets: %w", err)
	}
	body := encode(payload{"incident." + string(m.Phase), m.Updated.Time().UTC().Format(time.RFC3339Nano), m})
	header := http.Header{}
	secrets.Sign(header, m.ID, time.Now(), body)
	return post(ctx, s.client, s.url, body, header)
}

// splunk posts to an HTTP Event Collector.
type splunk struct {
	client          *http.Client
	base, tokenFile string
}

type collected struct {
	Time       float64  `json:"time"`
	Source     string   `json:"source"`
	SourceType string   `json:"sourcetype"`
	Event      *Message `json:"event"`
}

func (s *splunk) send(ctx context.Context, m *Message) error {
	token, err := readSecret(s.tokenFile)
	if err != nil {
		return fmt.Errorf("reading the token: %w", err)
	}
	body := encode(collected{float64(m.Updated) / 1000, "countersign", "countersign:incident", m})
	return post(ctx, s.client, strings.TrimSuffix(s.base, "/")+"/services/collector/event", body, http.Header{"Authorization": {"Splunk " + token}})
}

// teams posts an adaptive card to a workflow of Microsoft Teams. The webhooks before, of Office 365 connectors, are retired.
type teams struct {
	client  *http.Client
	urlFile string
	guard   *outbound.Guard
}

func (s *teams) address() (string, error) {
	address, err := readSecret(s.urlFile)
	if err == nil {
		err = allowing(s.guard.CheckURL(address))
	}
	return address, err
}

type block struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Wrap   bool   `json:"wrap"`
	Weight string `json:"weight,omitempty"`
	Color  string `json:"color,omitempty"`
}

func (s *teams) send(ctx context.Context, m *Message) error {
	address, err := s.address()
	if err != nil {
		return fmt.Errorf("reading the address: %w", err)
	}
	colour := map[events.Severity]string{events.Critical: "attention", events.High: "attention", events.Medium: "warning"}[m.Severity]
	if m.Phase == incident.Resolved {
		colour = "good"
	}
	card := map[string]any{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"body": []block{
			{Type: "TextBlock", Text: m.TitleText, Wrap: true, Weight: "bolder", Color: cmp.Or(colour, "default")},
			// A single line break is none in Markdown.
			{Type: "TextBlock", Text: strings.ReplaceAll(m.Text, "\n", "\n\n"), Wrap: true},
		},
	}
	if m.Link != "" {
		card["actions"] = []map[string]string{{"type": "Action.OpenUrl", "title": "Timeline", "url": m.Link}}
	}
	body := encode(map[string]any{
		"type":        "message",
		"attachments": []map[string]any{{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}},
	})
	return post(ctx, s.client, address, body, http.Header{})
}
