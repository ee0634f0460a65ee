package api

import (
	"errors"
	"net/http"
	"time"
)

// liveWriteTimeout is how long one write to a reader may take.
const liveWriteTimeout = 10 * time.Second

// liveCheck is how often a feed looks whether its reader would still be let in.
const liveCheck = time.Second

// live is the feed of what happens, as server-sent events: "finding" holds a finding, "requirement" a requirement with its new
// status, "receipt" what an application did with one, "mark" what somebody made of a finding. "reset" says that some were missed,
// so that whoever shows them asks for all again. A comment goes out when it is quiet. What is sent says how far the reader is, from the first frame on. One
// that comes back says that in Last-Event-ID, and gets the rest when that is not long ago.
func (a *API) live(w http.ResponseWriter, r *http.Request) {
	who := caller(r.Context()).under(ScopeRead)
	if who == nil {
		problem(w, http.StatusForbidden, a.forbidden(r.Context(), "GET /v1/live", "the scope "+ScopeRead).Error())
		return
	}
	reader, start, err := a.hub.join(paceKey(who), who.tenants, r.Header.Get("Last-Event-ID"))
	if errors.Is(err, errTooManyOfOne) {
		w.Header().Set("Retry-After", retryAfter)
		problem(w, http.StatusTooManyRequests, "You have as many live feeds open as one may; close some.")
		return
	}
	if err != nil {
		away(w, busy, "The live feed has as many readers as it can take; try again soon.")
		return
	}
	defer a.hub.leave(reader)

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies must not hold it back
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	send := func(frame []byte) bool {
		if out.SetWriteDeadline(time.Now().Add(liveWriteTimeout)) != nil {
			return false
		}
		if _, err := w.Write(frame); err != nil {
			return false
		}
		// On HTTP/2 a deadline that passes ends the answer, whether anything is written or not.
		return out.Flush() == nil && out.SetWriteDeadline(time.Time{}) == nil
	}
	if !send(start.frame) {
		return
	}
	for _, m := range start.missed {
		if !send(m.frame) {
			return
		}
	}
	quiet, check := time.NewTicker(a.cfg.LiveHeartbeat), time.NewTicker(liveCheck)
	defer quiet.Stop()
	defer check.Stop()
	for {
		select {
		case m, ok := <-reader.out:
			if !ok || !send(m.frame) {
				return
			}
		case <-quiet.C:
			if !send(a.hub.quiet(reader)) {
				return
			}
		case <-check.C:
			// A session that has ended, or a token that is gone, ends its feed too.
			if !a.stillIn(r) {
				return
			}
		case <-r.Context().Done():
			return
		case <-a.stopping:
			return
		}
	}
}
