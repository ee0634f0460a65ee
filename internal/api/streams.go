package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

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

func (a *API) streams(context.Context, *principal, *streamsQuestion) (*streamsAnswer, error) {
	return nil, notConfigured("There is no courier to ask: configure api.courier.")
}

func (a *API) operateStream(context.Context, *principal, *operateStream) (*streamAnswer, error) {
	return nil, notConfigured("There is no courier to ask: configure api.courier.")
}
