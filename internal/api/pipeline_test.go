package api

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-io/countersign/internal/events"
)

// hungLog is a log that never answers.
type hungLog struct{ Topics }

func (hungLog) Ends(ctx context.Context, _ string) (first, end []int64, err error) {
	<-ctx.Done()
	return nil, nil, ctx.Err()
}

// A log that hangs does not make the history look away, and those who ask wait for one look together, no longer than they want.
func TestALogThatHangsHoldsUpNobodyTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		a, err := New(cfg, Deps{History: &questions{newest: 1_700_000_000_000}, Log: tail{}, Publisher: &ledger{}})
		if err != nil {
			t.Fatal(err)
		}
		defer a.stop()
		a.deps.Topics, a.deps.Watched = hungLog{}, Watched{Topics: []string{"t1"}}
		who := newPrincipal("ada", events.ViaToken, RoleViewer, nil, []string{AllTenants})
		begun := time.Now()
		impatient, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				answer, err := a.pipeline(t.Context(), who, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if b := answer.Body; b.Log != "away" || b.History != "ok" || b.Newest != 1_700_000_000_000 || b.At.Before(begun.Add(lookTime)) {
					t.Errorf("%+v", b)
				}
			})
		}
		synctest.Wait()
		if _, err := a.pipeline(impatient, who, nil); err == nil || time.Since(begun) != time.Second {
			t.Errorf("who leaves after a second is answered %v after %v", err, time.Since(begun))
		}
		all.Wait()
		if waited := time.Since(begun); waited != lookTime {
			t.Errorf("they waited %v, want %v", waited, lookTime)
		}
	})
}
