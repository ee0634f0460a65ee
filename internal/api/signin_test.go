package api

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/api/oidctest"
	"github.com/countersign-io/countersign/internal/events"
)

// form sends the sign-in form.
func form(t *testing.T, client *http.Client, base string, fields url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/login", strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestTheFormLeadsWhereOneWantedToGo(t *testing.T) {
	t.Parallel()
	a, _, base := newAPI(t, nil)
	a.signIns = newPace(1000, 1000)
	for wanted, want := range map[string]string{
		"/rules?find=a&judged=not": "/rules?find=a&amp;judged=not", "": "/", "//evil.example": "/", "/login?code=x": "/", `/"><script>`: "/",
	} {
		for secret, status := range map[string]int{acmeSecret: http.StatusOK, "not-a-token": http.StatusForbidden, secretPrefix + "away": http.StatusServiceUnavailable} {
			res, text := form(t, http.DefaultClient, base, url.Values{"token": {secret}, "return": {wanted}})
			if res.StatusCode != status || !strings.Contains(text, `<a href="`+want+`">`) || strings.Contains(text, "evil") {
				t.Errorf("with %q to %q: %d %s", secret, wanted, res.StatusCode, text)
			}
			if signedIn := len(res.Cookies()) > 0; signedIn != (status == http.StatusOK) || strings.Contains(text, `content="0; url=`+want+`"`) != signedIn {
				t.Errorf("with %q to %q: cookies %v, %s", secret, wanted, res.Cookies(), text)
			}
		}
	}
}

func TestATokenThatGivesNoRoleSignsNobodyIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(c *Config, _ *oidctest.Provider) { c.OIDC.Help = "Ask the service desk <desk@acme.example>." })
	client := h.browser()
	none := h.provider.Sign(h.provider.Claims(audience, map[string]any{"preferred_username": "bea@acme.example", "roles": []string{"staff"}}))
	res, text := form(t, client, h.base, url.Values{"token": {none}, "return": {"/rules"}})
	if res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 || !strings.Contains(text, "You have no access") || !strings.Contains(text, "Ask the service desk &lt;desk") ||
		!strings.Contains(text, `href="/rules"`) {
		t.Errorf("without a role: %d %v %s", res.StatusCode, res.Cookies(), text)
	}
	if h.me(client) != nil {
		t.Error("somebody without a role is signed in")
	}
	eventually(t, "the note does not end", func() bool { return len(h.notes) == 0 })
	if trail := h.log.audited(t); len(trail) != 1 || trail[0].Action != "sign_in" || trail[0].Outcome != events.AuditRefused || !strings.Contains(trail[0].Detail, "bea@acme.example has no role") {
		t.Errorf("the trail: %+v", trail)
	}
	some := h.provider.Sign(h.provider.Claims(audience, nil))
	if res, text := form(t, client, h.base, url.Values{"token": {some}}); res.StatusCode != http.StatusOK || h.me(client) == nil {
		t.Errorf("with a role: %d %s", res.StatusCode, text)
	}
}
