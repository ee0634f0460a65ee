package wiring

import (
	"context"

	"go.uber.org/zap"

	"github.com/countersign-io/countersign/internal/detector"
	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/explain"
	"github.com/countersign-io/countersign/internal/report"
)

// explainer explains decisions from the history, and says what the policies that are configured now make of them. It
// implements [api.Explainer].
type explainer struct {
	store explain.Store
	// policies is the detector's policy_file, which may change at any time; "" is the policies that are built in.
	policies string
	log      *zap.Logger
}

func (x *explainer) Explain(ctx context.Context, scope report.Scope, finding string, now events.Millis) (*explain.Explanation, error) {
	rules, unread := detector.LoadPolicies(x.policies)
	explanation, err := explain.FromHistory(ctx, x.store, scope, explain.ID{Finding: finding}, rules, now)
	if err == nil && unread != nil {
		x.log.Warn("reading the policies for an explanation", zap.Error(unread))
		explanation.Notes = append(explanation.Notes, "the policies could not be read here, so what each of them says is not shown")
	}
	return explanation, err
}
