package o365

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/countersign-io/countersign/internal/source/upstream"
)

// When a content that cannot be fetched is given up: after so many calls, and so long. Until then it may be the API that
// is unwell. One that is given up stands for itself, as a dead letter.
const (
	maxTries = 8
	patience = time.Hour
	// maxStuck bounds the contents whose failures are counted. A call that meets more ends there.
	maxStuck = 32
)

// attempts are the failures of one content.
type attempts struct {
	ID    digest `json:"id"`
	Count int    `json:"count"`
	Since int64  `json:"since"` // in seconds since 1970
}

// errIncomplete is the error of a content that is no complete JSON.
var errIncomplete = errors.New("the answer is no complete JSON")

// stuck tells an error that is about one content, and may be there for ever, from one of the whole API, the network or
// our permission.
func stuck(err error) bool {
	if errors.Is(err, errIncomplete) || errors.Is(err, upstream.ErrLarger) || errors.Is(err, upstream.ErrElsewhere) {
		return true
	}
	failed, ok := errors.AsType[*upstream.Error](err)
	if !ok || failed.Wait > 0 {
		return false
	}
	switch failed.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return false
	}
	return failed.Status >= http.StatusBadRequest
}

// tried counts a failure of a content, once a call, and reports whether it is given up.
func (j *journey) tried(id string) (givenUp bool) {
	d, now := digestOf(id), j.now().Unix()
	j.failed[d] = true
	n := slices.IndexFunc(j.at.Stuck, func(a attempts) bool { return a.ID == d })
	if n < 0 {
		if len(j.at.Stuck) < maxStuck {
			j.at.Stuck = append(j.at.Stuck, attempts{ID: d, Count: 1, Since: now})
		}
		return false
	}
	a := &j.at.Stuck[n]
	if a.Count++; a.Count < maxTries || now-a.Since < int64(patience/time.Second) {
		return false
	}
	delete(j.failed, d)
	return true
}

// count keeps the failures of this call. What came, was given up or is no longer listed is counted no more.
func (j *journey) count() error {
	j.at.Stuck = slices.DeleteFunc(j.at.Stuck, func(a attempts) bool { return !j.failed[a.ID] })
	return j.hand(nil)
}
