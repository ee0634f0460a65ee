package api

import (
	"cmp"
	"context"
	"slices"

	"github.com/countersign-io/countersign/internal/anomaly"
	"github.com/countersign-io/countersign/internal/report"
)

type rulesAnswer struct {
	Body struct {
		Rules []report.Rule `json:"rules" nullable:"false" doc:"Every detection of the catalogue, and others that have findings; those with most active findings first"`
	}
}

func (a *API) rules(ctx context.Context, who *principal, q *Window) (*rulesAnswer, error) {
	span, err := q.span(a.cfg.MaxSpan)
	if err != nil {
		return nil, err
	}
	scope := who.tenants.Narrow(q.Tenant)
	recent, err := a.unsettled(ctx, scope)
	if err != nil {
		return nil, a.refusal(err)
	}
	rules, err := a.deps.History.Rules(ctx, report.RuleQuery{Scope: scope, Span: span, Recent: recent})
	if err != nil {
		return nil, a.refusal(err)
	}
	answer := &rulesAnswer{}
	answer.Body.Rules = named(rules)
	return answer, nil
}

// named adds the detections that found nothing, and what all are called.
func named(rules []report.Rule) []report.Rule {
	rules = append([]report.Rule{}, rules...)
	for _, d := range anomaly.Detections() {
		i := slices.IndexFunc(rules, func(r report.Rule) bool { return r.Detection == d.ID })
		if i < 0 {
			i, rules = len(rules), append(rules, report.Rule{Detection: d.ID})
		}
		rules[i].Title = d.Title
	}
	slices.SortFunc(rules, func(a, b report.Rule) int {
		return cmp.Or(cmp.Compare(b.Findings, a.Findings), cmp.Compare(b.Recorded, a.Recorded), cmp.Compare(a.Detection, b.Detection))
	})
	return rules
}
