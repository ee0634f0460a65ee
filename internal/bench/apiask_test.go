package bench

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// notAsked are the operations that read and are no question of the dashboard to the history: long work, a single thing of
// another service, or what the broker answers.
var notAsked = map[string]string{
	"finding-explanation": "replays a person", "export": "streams", "backtests": "of the process", "backtest": "of the process",
	"dead-letter": "there are none here", "streams": "the courier answers", "pipeline": "the broker answers", "tokens": "of the process",
}

// Every operation of the API that reads is asked, or it is said why not.
func TestAllQuestionsAreAsked(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../web/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var api struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(text, &api); err != nil || len(api.Paths) == 0 {
		t.Fatalf("the description has %d paths, %v", len(api.Paths), err)
	}
	k := &known{
		rng: rand.New(rand.NewPCG(1, 1)), newest: time.Now(), tenants: []string{"acme"}, users: []string{"acme/u"}, ids: []string{"u"},
		sessions: []string{"acme/s"}, ips: []string{"192.0.2.1"}, prefixes: []string{"192.0.2.0/24"}, apps: []string{"acme/a"},
		findings: []string{"f"}, requirements: []string{"r"}, countries: []string{"DE"}, detections: []string{"LOC-01"},
	}
	asked := map[string]string{}
	for _, q := range append([]question{timeline}, questions...) {
		path, _, _ := strings.Cut(q.path(k), "?")
		asked[q.name] = path
	}
	for path, operations := range api.Paths {
		get, reads := operations["get"]
		if !reads {
			continue
		}
		ours, ok := asked[get.ID]
		switch {
		case !ok && notAsked[get.ID] == "":
			t.Errorf("%s (%s) is not asked: add it to questions, or to notAsked with the reason", path, get.ID)
		case ok && strings.Count(ours, "/") != strings.Count(path, "/"):
			t.Errorf("%s is asked as %s", path, ours)
		}
		delete(asked, get.ID)
	}
	for name, path := range asked {
		t.Errorf("%s is asked at %s, which the API does not have", name, path)
	}
}
