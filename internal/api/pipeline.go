package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/report"
)

type pipelineAnswer struct {
	Body struct {
		Topics  []report.TopicState `json:"topics" nullable:"false"`
		Groups  []report.GroupLag   `json:"groups" nullable:"false" doc:"Consumer groups that have committed anything"`
		Log     string              `json:"log" enum:"ok,away" doc:"Whether Kafka answers; topics and groups are as it said last"`
		History string              `json:"history" enum:"ok,away"`
		Newest  events.Millis       `json:"newest_event,omitempty" doc:"Of the tenants that you may see; left out while the history is away"`
		At      time.Time           `json:"at" doc:"When it was looked at"`
	}
}

func (a *API) describePipeline(api huma.API) {
	register(a, api, "pipeline", "/v1/pipeline", "How the log and the history stand", ScopeRead, a.pipeline, saying("At most some seconds old."), aside)
}

func (a *API) pipeline(context.Context, *principal, *struct{}) (*pipelineAnswer, error) {
	return nil, notConfigured("The pipeline is not known here.")
}
