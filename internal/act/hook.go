package act

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/revocation"
	"github.com/countersign-io/countersign/internal/source/upstream"
	"github.com/countersign-io/countersign/internal/webhook"
)

// hook posts requirements to an address, signed by the Standard Webhooks convention.
type hook struct {
	action, url, secrets string
	client               *upstream.Client
}

func newHook(a *ActionConfig, client *http.Client) (source, error) {
	if _, err := webhook.ReadSecrets(a.SecretsFile); err != nil {
		return nil, fmt.Errorf("secrets_file: %w", err)
	}
	return &hook{
		action: a.Name, url: a.URL, secrets: a.SecretsFile,
		client: upstream.New(upstream.Config{HTTP: client, Base: a.URL, MaxBody: maxAnswer}),
	}, nil
}

// hookBody is the body of a request: what became of a requirement, and its claims set.
type hookBody struct {
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

func (h *hook) request(c *revocation.Claims) (request, error) {
	body, err := json.Marshal(hookBody{
		Type: "countersign.requirement." + string(c.Status), Timestamp: time.Unix(c.IssuedAt, 0).UTC(), Data: c.Encode(),
	})
	id := "act_" + events.ID("act", h.action, c.Tenant, c.User, c.ID, string(c.Status))
	return request{method: http.MethodPost, address: h.url, body: body, id: id}, err
}

func (h *hook) send(ctx context.Context, r request) error {
	secrets, err := webhook.ReadSecrets(h.secrets) // anew, so that one can be replaced
	if err != nil {
		return fmt.Errorf("secrets_file: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	secrets.Sign(header, r.id, time.Now(), r.body)
	_, err = h.client.Post(ctx, r.address, header, r.body)
	return err
}

func (h *hook) receipt() (string, events.ReceiptStatus) { return "http", events.Delivered }

func (h *hook) check(context.Context) (string, error) {
	_, err := webhook.ReadSecrets(h.secrets)
	return "the secrets can be read; the receiver is not called", err
}
