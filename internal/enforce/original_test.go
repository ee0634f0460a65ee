package enforce

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
)

// However a path is written, a demand on it is not evaded, and nothing else becomes public.
func TestPathsAreReadInEveryWay(t *testing.T) {
	t.Parallel()
	routes := []RouteConfig{{Path: "/transfers", Methods: []string{"POST", "GET"}}}
	publics := []Match{{Path: "/assets"}, {Path: "/health", Methods: []string{"GET"}}}
	for uri, c := range map[string]struct{ demanded, public bool }{
		"/transfers":                        {true, false},
		"/transfers/":                       {true, false},
		"/transfers/9?x=/assets":            {true, false},
		"/transfers?x":                      {true, false},
		"/transferships":                    {false, false},
		"/Transfers":                        {true, false},
		"/%74ransfers":                      {true, false},
		"/%2574ransfers":                    {true, false},
		"//transfers":                       {true, false},
		"/./transfers":                      {true, false},
		"/x/../transfers":                   {true, false},
		"/x/%2e%2e/transfers":               {true, false},
		"/x%2f..%2ftransfers":               {true, false},
		"/x%252f..%252ftransfers":           {true, false},
		`/x\..\transfers`:                   {true, false},
		"/x%5c..%5ctransfers":               {true, false},
		"/transfers;v=1":                    {true, false},
		"/transfers;v=1/9":                  {true, false},
		"/x/..;/transfers":                  {true, false},
		"/transfers%2f9":                    {true, false},
		"/transfers%3bv":                    {true, false},
		"https://app.example.com/transfers": {true, false},
		"/assets":                           {false, true},
		"/assets/a%20b.css?v=1":             {false, true},
		"/Assets/x":                         {false, false},
		"/assets/../pay":                    {false, false},
		"/assets/%2e%2e/pay":                {false, false},
		"/assets/..;/pay":                   {false, false},
		"/assets%2f..%2fpay":                {false, false},
		`/assets\..\pay`:                    {false, false},
		"/assets/../transfers":              {true, false},
		"/assets/..%2ftransfers":            {true, false},
		"/health":                           {false, true},
		"/health/":                          {false, true},
		"/health.json":                      {false, false},
		// Tomcat drops parameters from the path as it came, and decodes then.
		"/assets/a;%2fb%2fc/%2e%2e/%2e%2e/pay": {false, false},
		"/a;%2f../%74ransfers":                 {true, false},
		"/a;%2f../../%74ransfers":              {true, false},
		"/x;%2fb/%2e%2e/%74ransfers":           {true, false},
		"/assets/a;v=1":                        {false, false},
		"/%61ssets/x":                          {false, false},
		"/assets//x":                           {false, false},
		"/assets/a%2fb":                        {false, false},
		"/assets/a%5Cb":                        {false, false},
		"/assets/a%2Ecss":                      {false, false},
		"/assets/%252e%252e/pay":               {false, false},
		"/assets/%c0%ae%c0%ae/pay":             {false, false},
		"/assets/..%20/pay":                    {false, false},
		"/assets/.../pay":                      {false, false},
		"/assets/.%09./pay":                    {false, false},
		"/assets/%c3%a4.css":                   {false, true},
		// A format at the end, and what Windows drops there.
		"/transfers.json":    {true, false},
		"/transfers.":        {true, false},
		"/transfers%20":      {true, false},
		"/transfers%09":      {true, false},
		"/transfers/x/../..": {true, false}, // not every framework resolves dots
		"/":                  {false, false},
		"":                   {false, false},
		"*":                  {false, false},
		"?x":                 {false, false},
	} {
		o, err := newOriginal("nginx", http.MethodGet, uri)
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if got := o.demanded(&routes[0]); got != c.demanded {
			t.Errorf("%s: demanded %v; read as %q", uri, got, o.readings)
		}
		if got := o.public(publics); got != c.public {
			t.Errorf("%s: public %v; read as %q", uri, got, o.readings)
		}
	}
	for _, uri := range []string{"/%", "/%00", "/a b", "/a\x00", "/a#b", "a", "\\a", "/%zz"} {
		if o, err := newOriginal("nginx", http.MethodGet, uri); err == nil {
			t.Errorf("%q is read as %q", uri, o.readings)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method  string
		methods []string
		want    bool
	}{
		{"GET", nil, true},
		{"HEAD", []string{"GET"}, true},
		{"get", []string{"GET"}, true},
		{"GET", []string{"HEAD"}, false},
		{"PATCH", []string{"POST", "PUT"}, false},
	} {
		if got := (&original{method: c.method}).about(c.methods); got != c.want {
			t.Errorf("%s in %v: %v", c.method, c.methods, got)
		}
	}
}

func TestClientIP(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	for header, want := range map[string]string{
		"":                                  "",
		"203.0.113.9":                       "203.0.113.9",
		"1.1.1.1, 203.0.113.9":              "203.0.113.9",
		"1.1.1.1, 203.0.113.9, 10.1.2.3":    "203.0.113.9",
		"203.0.113.9:4711, 2001:db8::7":     "203.0.113.9",
		"::ffff:203.0.113.9":                "203.0.113.9",
		"203.0.113.9, rubbish":              "",
		"203.0.113.9,":                      "",
		"10.0.0.1":                          "",
		"2001:4860::1, [2001:db8::1]:80":    "2001:4860::1",
		"203.0.113.9\" onload=x, 10.0.0.1 ": "",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.Header["X-Forwarded-For"] = strings.SplitAfter(header, ",")
		if got := clientIP(r, proxies); got != want && !strings.Contains(header, ",") {
			t.Errorf("%q, one header each: %q, want %q", header, got, want)
		}
		r.Header["X-Forwarded-For"] = []string{header}
		if got := clientIP(r, proxies); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// reader is an application that makes of a path what its steps do to it, in their order.
func reader(steps []byte, p string) (string, bool) {
	for _, step := range steps {
		switch step % 5 {
		case 0: // drop parameters
			p = regexp.MustCompile(`;[^/]*`).ReplaceAllString(p, "")
		case 1:
			decoded, err := url.PathUnescape(p)
			if err != nil {
				return "", false
			}
			p = decoded
		case 2:
			p = strings.ReplaceAll(p, `\`, "/")
		case 3:
			p = path.Clean(p)
		case 4:
			p = regexp.MustCompile(`/+`).ReplaceAllString(p, "/")
		}
	}
	return p, true
}

// Whatever an application makes of a path, what is not public is not to be had as if it were.
func FuzzOriginal(f *testing.F) {
	tomcat := []byte{0, 1, 2, 3}
	f.Add("GET", "/a/../b;c%2fd?e", tomcat)
	f.Add("POST", "http://x", []byte{1, 3})
	f.Add("M", `\%5c%252f`, []byte{1, 1, 2})
	f.Add("GET", "/assets/a;%2fb%2fc/%2e%2e/%2e%2e/secret", tomcat)
	f.Add("GET", "/assets/%252e%252e;%252f/x", []byte{1, 0, 1, 3})
	f.Add("GET", "/%61ssets/x", []byte{})
	f.Add("GET", "/api;%2f../%74ransfers", tomcat)
	f.Add("GET", "/x;%2fb/%2e%2e/transfers", tomcat)
	f.Fuzz(func(t *testing.T, method, uri string, steps []byte) {
		o, err := newOriginal("nginx", method, uri)
		if err != nil || len(steps) > 12 {
			return
		}
		if len(o.readings) == 0 || len(o.readings) > 256 {
			t.Errorf("%d readings of %q", len(o.readings), uri)
		}
		public := o.public([]Match{{Path: "/assets"}})
		read, ok := reader(steps, o.uri.RawPath)
		if public && ok && read != "/assets" && !strings.HasPrefix(read, "/assets/") {
			t.Errorf("%q is public, and may be read as %q", uri, read)
		}
		// Those that are there: Tomcat, and the simple ones.
		transfers := RouteConfig{Path: "/transfers"}
		for _, steps := range [][]byte{{}, {1}, {1, 3}, {1, 1, 3}, tomcat, {1, 2, 0, 3}} {
			if read, ok := reader(steps, o.uri.RawPath); ok && (read == "/transfers" || strings.HasPrefix(read, "/transfers/")) && !o.demanded(&transfers) {
				t.Errorf("%q may be read as %q, and nothing is demanded; read as %q", uri, read, o.readings)
			}
		}
		if o.demanded(&transfers) && public {
			t.Errorf("%q is demanded and public: %q", uri, o.readings)
		}
	})
}
