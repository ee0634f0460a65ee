package pulltest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/pull/pulltest"
	"github.com/countersign-io/countersign/internal/source/native"
	"github.com/countersign-io/countersign/internal/source/upstream/upstreamtest"
)

func TestMain(m *testing.M) {
	pulltest.Main(m, map[string]pulltest.Factory{
		"pages": func(upstream string) (pulltest.Source, error) {
			return pulltest.Source{Decoder: native.Decoder{}, Format: "event", Tenant: "acme", Fetcher: &pages{upstream: upstream, overlap: 25}}, nil
		},
	})
}

// history is an upstream with numbered records, of which it gives pages; the last ones appear only while it is asked.
type history struct {
	mu      sync.Mutex
	records []string
	visible int
	random  *rand.Rand
}

const pageSize = 10

func (h *history) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from, err := strconv.Atoi(r.FormValue("from"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.visible = min(h.visible+3, len(h.records))
	to := min(from+pageSize, h.visible)
	page := append([]string(nil), h.records[min(from, to):to]...)
	if len(page) > 0 {
		page = append(page, page[0]) // some come twice
	}
	h.random.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	for _, record := range page {
		fmt.Fprintln(w, record)
	}
	fmt.Fprintf(w, `{"next":%d}`+"\n", to)
}

// pages asks a history from its position on, and for a part of what came before once more.
type pages struct {
	upstream string
	overlap  int
}

func (p *pages) Fetch(ctx context.Context, position []byte, take func(values [][]byte, next []byte) error) (time.Duration, error) {
	at := struct {
		Next int `json:"next"`
	}{}
	if position != nil {
		if err := json.Unmarshal(position, &at); err != nil {
			return 0, err
		}
	}
	for from := max(0, at.Next-p.overlap); ; from = at.Next {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.upstream+"/?from="+strconv.Itoa(from), nil)
		if err != nil {
			return 0, err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			return 0, err
		}
		lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
		next := lines[len(lines)-1]
		if err := json.Unmarshal(next, &at); err != nil || res.StatusCode != http.StatusOK {
			return 0, fmt.Errorf("status %d, and the page has no end (%w)", res.StatusCode, err)
		}
		if at.Next == from {
			return time.Hour, nil
		}
		if err := take(lines[:len(lines)-1], next); err != nil {
			return 0, err
		}
	}
}

// Kills, repeated and reordered records, cut pages, errors and late records: all is on the log once.
func TestNothingIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]pulltest.Options{
		"restart": {Letters: 1}, "takeover": {Letters: 1, Kills: 4, Takeover: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prove(t, o)
		})
	}
}

func prove(t *testing.T, o pulltest.Options) {
	t.Helper()
	h := &history{visible: 60, random: rand.New(rand.NewPCG(1, 2))}
	var want []string
	for n := range 160 {
		id := "record-" + strconv.Itoa(n)
		h.records = append(h.records, fmt.Sprintf(`{"kind":"sign_in","tenant":"acme","user":{"id":"u%d"},"time":%q,"source":{"id":%q}}`,
			n%7, events.MillisOf(time.Now().Add(time.Duration(n)*time.Millisecond-time.Hour)), id))
		want = append(want, events.EventID("acme", native.Family, id))
	}
	h.records = append(h.records, `{"kind":"sign_in","tenant":"other"}`) // a dead letter
	server := upstreamtest.New(t, h)
	for range 20 {
		server.Script("", "", upstreamtest.Truncated, "", upstreamtest.Broken, "", upstreamtest.Short, "", "", upstreamtest.HungUp)
	}
	all := pulltest.Prove(t, "pages", server.URL, want, o)
	if len(all) != len(want) {
		t.Errorf("%d events, want %d", len(all), len(want))
	}
}
