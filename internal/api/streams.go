package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/report"
)

type streamsQuestion struct {
	Tenant string `query:"tenant" maxLength:"64" doc:"One of the tenants that you may see; all of them when left out"`
}

type streamsAnswer struct {
	Body struct {
		Streams []report.Stream `json:"streams" nullable:"false"`
	}
}

// StreamVerb is what goes with a verb.
type StreamVerb struct {
	Reason string `json:"reason,omitempty" maxLength:"256" doc:"With pause, enable and disable: why, for the receiver"`
	// Since is how far back to replay; JTI, Partition and Offset name one SET, as its dead letter does.
	Since     time.Time `json:"since,omitzero" doc:"With replay: send again what was decided since then and is still on the log"`
	JTI       string    `json:"jti,omitempty" maxLength:"256" doc:"With replay: the one SET, with partition and offset as its dead letter says them"`
	Partition *int      `json:"partition,omitempty" minimum:"0"`
	Offset    *int64    `json:"offset,omitempty" minimum:"0"`
}

type operateStream struct {
	ID   string `path:"id" pattern:"^[0-9A-Za-z_-]{1,128}$"`
	Verb string `path:"verb" enum:"verify,pause,enable,disable,replay"`
	Body *StreamVerb
}

type streamAnswer struct{ Body report.Stream }

func (a *API) describeStreams(api huma.API) {
	register(a, api, "streams", "/v1/streams", "Shared Signals streams of receivers", ScopeOperate, a.streams, refusing(http.StatusNotFound), aside)
	register(a, api, "operate-stream", "POST /v1/streams/{id}/{verb}", "Verify, pause, enable, disable or replay a stream", ScopeOperate, a.operateStream,
		refusing(http.StatusNotFound, http.StatusConflict), aside)
}

// operatorPrefix is where a courier has its operator endpoints.
const operatorPrefix = "/operator/v1/streams"

func (a *API) streams(ctx context.Context, who *principal, q *streamsQuestion) (*streamsAnswer, error) {
	if a.courier == nil {
		return nil, noCourier()
	}
	raw, err := a.courier.Call(ctx, http.MethodGet, operatorPrefix, "", nil)
	if err != nil {
		return nil, a.peerRefusal("courier", err)
	}
	answer := &streamsAnswer{}
	if err := json.Unmarshal(raw, &answer.Body); err != nil {
		return nil, a.peerRefusal("courier", err)
	}
	scope := who.tenants.Narrow(q.Tenant)
	answer.Body.Streams = append([]report.Stream{}, slices.DeleteFunc(answer.Body.Streams, func(s report.Stream) bool { return !scope.Allows(s.Tenant) })...)
	return answer, nil
}

func noCourier() error {
	return notConfigured("There is no courier to ask: configure api.courier with the url and an operator's token_file of one.")
}

// stream asks for one stream that the caller may see.
func (a *API) stream(ctx context.Context, who *principal, id string) (s report.Stream, err error) {
	raw, err := a.courier.Call(ctx, http.MethodGet, operatorPrefix+"/"+url.PathEscape(id), "", nil)
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return s, a.peerRefusal("courier", err)
	}
	if !who.tenants.Allows(s.Tenant) {
		return s, a.refusal(report.ErrNotFound)
	}
	return s, nil
}

func (a *API) operateStream(ctx context.Context, who *principal, q *operateStream) (*streamAnswer, error) {
	if a.courier == nil {
		return nil, noCourier()
	}
	body, err := q.content()
	if err != nil {
		return nil, err
	}
	s, err := a.stream(ctx, who, q.ID)
	if err != nil {
		return nil, err
	}
	entry := events.AuditEntry{Tenant: s.Tenant, Action: "stream." + q.Verb, Target: q.ID, Detail: string(body)}
	if err := a.audit(ctx, who, entry); err != nil {
		return nil, err
	}
	if s, err = a.operate(ctx, q.ID, q.Verb, body); err != nil {
		entry.Outcome = events.AuditFailed
		a.note(ctx, entry)
		return nil, err
	}
	return &streamAnswer{s}, nil
}

// operate has the courier do something to a stream.
func (a *API) operate(ctx context.Context, id, verb string, body []byte) (s report.Stream, err error) {
	raw, err := a.courier.Call(ctx, http.MethodPost, operatorPrefix+"/"+url.PathEscape(id)+"/"+verb, "application/json", body)
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return s, a.peerRefusal("courier", err)
	}
	return s, nil
}

// content is the body of the request to the courier. What does not belong to the verb is refused.
func (q *operateStream) content() ([]byte, error) {
	b := StreamVerb{}
	if q.Body != nil {
		b = *q.Body
	}
	bad := func(field, message string) error {
		return huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body." + field, Message: message})
	}
	one := b.JTI != "" || b.Partition != nil || b.Offset != nil
	switch {
	case b.Reason != "" && (q.Verb == "verify" || q.Verb == "replay"):
		return nil, bad("reason", "means nothing with "+q.Verb)
	case q.Verb != "replay" && (one || !b.Since.IsZero()):
		return nil, bad("since", "goes with replay, as jti, partition and offset do")
	case q.Verb == "replay" && one == !b.Since.IsZero():
		return nil, bad("since", "give it, or jti with partition and offset")
	case one && (b.JTI == "" || b.Partition == nil || b.Offset == nil):
		return nil, bad("jti", "goes with partition and offset")
	}
	return json.Marshal(b)
}

// peerRefusal turns what another process said into what a caller may know of it.
func (a *API) peerRefusal(name string, err error) error {
	why := courierAway
	if name == "ingest" {
		why = ingestAway
	}
	said, ok := errors.AsType[*peer.Error](err)
	if !ok {
		a.log.Warn("asking the "+name, zap.Error(err))
		return unavailable(why, "The "+name+" does not answer. Ask again soon.")
	}
	switch said.Status {
	case http.StatusNotFound:
		return a.refusal(report.ErrNotFound)
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return huma.Error422UnprocessableEntity(said.Problem)
	case http.StatusConflict:
		return huma.Error409Conflict(said.Problem)
	case http.StatusTooManyRequests:
		return huma.ErrorWithHeaders(huma.Error429TooManyRequests(said.Problem), http.Header{"Retry-After": {cmp.Or(said.RetryAfter, retryAfter)}})
	case http.StatusUnauthorized, http.StatusForbidden:
		a.log.Error("the "+name+" refuses our token", zap.String("section", "api."+name), zap.Error(err))
		return unavailable(why, "The "+name+" refuses this API: look at api."+name+".token_file.")
	}
	a.log.Warn("asking the "+name, zap.Error(err))
	return unavailable(why, "The "+name+" cannot do it now: "+said.Problem)
}
