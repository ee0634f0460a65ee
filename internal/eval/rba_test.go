package eval

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/eval/report"
	"github.com/countersign-io/countersign/internal/eval/score"
)

// rbaFile writes a made-up file in the form of the data set: people who always sign in from home with their own device,
// attackers' rows, and takeovers from abroad.
func rbaFile(t *testing.T, people, logins int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("index,Login Timestamp,User ID,Round-Trip Time [ms],IP Address,Country,Region,City,ASN,User Agent String," +
		"Browser Name and Version,OS Name and Version,Device Type,Login Successful,Is Attack IP,Is Account Takeover\n")
	n := 0
	row := func(user int, ip, country string, asn int, agent string, success, attack, takeover string) {
		hour := n / 60
		fmt.Fprintf(&b, "%d,2020-02-%02d %02d:%02d:00.000,%d,,%s,%s,-,-,%d,%s,%s 1.0,Linux 5,desktop,%s,%s,%s\n",
			n, 3+hour/24, hour%24, n%60, user, ip, country, asn, agent, agent, success, attack, takeover)
		n++
	}
	for round := range logins {
		for user := range people {
			country := []string{"NO", "DE"}[user%2]
			row(1000+user, fmt.Sprintf("192.0.2.%d", user), country, 64496+user%4, fmt.Sprintf("Agent%d", user%5), "True", "False", "False")
		}
		row(5000+round, fmt.Sprintf("198.51.100.%d", round%200), "RU", 64510, "Agent9", "True", "True", "False")
		row(1000, "203.0.113.1", "NO", 64496, "Agent0", "False", "False", "False") // a failure is no login
	}
	for user := range 4 {
		row(1000+user, "198.51.100.77", "RU", 64510, "Agent9", "True", "True", "True")
	}
	row(999_999, "198.51.100.77", "RU", 64510, "Agent9", "True", "True", "True") // nobody knows the victim
	path := filepath.Join(t.TempDir(), "rba-dataset.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRBA(t *testing.T) {
	t.Parallel()
	const people, logins = 20, 40
	r, err := RunRBA(t.Context(), RBAOptions{File: rbaFile(t, people, logins), Share: 1, Seed: 9, Rounds: 10})
	if err != nil {
		t.Fatal(err)
	}
	d := r.RBA
	if d.Rows != people*logins+2*logins+5 || d.Logins != people*logins+logins || r.Users != people+logins || d.Takeovers != 5 {
		t.Errorf("%d rows, %d logins, %d users, %d takeovers", d.Rows, d.Logins, r.Users, d.Takeovers)
	}
	// Whoever always does the same is told from the naive attacker for nothing; the first login has no score.
	for _, scorer := range []string{report.Networks, report.Freeman} {
		for i := range r.Curves {
			c := &r.Curves[i]
			for _, p := range c.Points {
				if c.Scorer == scorer && c.Attacker == "naive" && p.History == score.Longest &&
					(!p.OK || p.Users != people || p.Rate.Rate != 0 || math.Abs(p.Scored-38.0/39) > 1e-9) {
					t.Errorf("%s: %+v", scorer, p)
				}
			}
		}
	}
	for _, rate := range d.TakeoverRates {
		if rate.Scored != 4 || rate.Unscored != 1 || rate.Caught != 4 {
			t.Errorf("%+v", rate)
		}
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil || !strings.Contains(text.String(), "10.1145/3546069") {
		t.Errorf("the data set is not cited: %v\n%s", err, text.String())
	}
	for _, f := range r.Figures {
		if !strings.HasPrefix(f.Metric, "eval.rba.") {
			t.Errorf("%s stands among the figures of the data set", f.Metric)
		}
	}
}

func TestRBASharesAreOfUsers(t *testing.T) {
	t.Parallel()
	path := rbaFile(t, 60, 10)
	r, err := RunRBA(t.Context(), RBAOptions{File: path, Share: 0.5, Seed: 9})
	if err != nil {
		t.Fatal(err)
	}
	if r.Users < 15 || r.Users > 55 {
		t.Errorf("%d of 70 users", r.Users)
	}
	for _, share := range []float64{0, -1, 1.5, math.NaN()} {
		if _, err := RunRBA(t.Context(), RBAOptions{File: path, Share: share}); err == nil {
			t.Errorf("a share of %g", share)
		}
	}
	if _, err := RunRBA(t.Context(), RBAOptions{File: path + "x", Share: 1}); err == nil {
		t.Error("no file")
	}
}
