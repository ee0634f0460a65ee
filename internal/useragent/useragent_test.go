package useragent

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func parser(t testing.TB) *Parser {
	t.Helper()
	p, err := New(64)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	p := parser(t)
	const safari = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5"
	const chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
	for s, want := range map[string]Family{
		"": {},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + chrome + " Safari/537.36 Edg/131.0.2903.51":         {"Windows", "Edge", 131, Desktop},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + chrome + " Safari/537.36":                           {"Windows", "Chrome", 131, Desktop},
		"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0":                           {"Linux", "Firefox", 132, Desktop},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + safari + " Safari/605.1.15":                   {"macOS", "Safari", 17, Desktop},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) " + safari + " Mobile/15E148 Safari/604.1": {"iOS", "Safari", 17, Mobile},
		"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) " + safari + " Safari/604.1":                        {"iOS", "Safari", 17, Tablet},
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) " + chrome + " Mobile Safari/537.36":                     {"Android", "Chrome", 131, Mobile},
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                         {"", "Googlebot", 2, Bot},
		"BAV2ROPC":                           {"", "BAV2ROPC", 0, Script},
		"python-requests/2.32.3":             {"", "python-requests", 2, Script},
		"Go-http-client/2.0":                 {"", "Go http", 2, Script},
		"curl/8.5.0":                         {"", "curl", 8, Script},
		"axios/1.7.2":                        {"", "axios", 1, Script},
		"okhttp/4.12.0":                      {"", "OkHttp", 4, Script},
		"Mozilla/4.0 (compatible; MSAL 1.0)": {"", "MSAL", 1, Script},
		"MSAL.Desktop.4.60.3.0":              {"", "MSAL", 0, Script},
		"Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041": {"", "PowerShell", 5, Script},
		"\x00\x01\xff": {},
	} {
		got := p.Parse(s)
		if want.Browser == "PowerShell" || want.Browser == "MSAL" {
			got.OS = want.OS // pretended browsers may or may not tell the system
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", s, got, want)
		}
		if again := p.Parse(s); again.Browser != got.Browser {
			t.Errorf("%q: the second time %+v", s, again)
		}
	}
}

func TestNamesOfProviders(t *testing.T) {
	for s, want := range map[string]string{
		"Windows 10": "Windows", "Windows10": "Windows", "windows": "Windows", "MacOs": "macOS", "Mac OS X": "macOS",
		"Ios 13.4": "iOS", "iOS": "iOS", "Android": "Android", "Linux": "Linux", "": "", "unknown": "", "Haiku 1": "Haiku",
		"ChromeOS": "ChromeOS", strings.Repeat("x", 5000): strings.Repeat("x", maxName),
	} {
		if got := OS(s); got != want {
			t.Errorf("OS(%.20q) = %q, want %q", s, got, want)
		}
		if again := OS(OS(s)); again != OS(s) {
			t.Errorf("OS(%.20q) is %q once and %q twice", s, OS(s), again)
		}
	}
	for s, want := range map[string]string{
		"Edge 131.0.2903": "Edge 131", "Chrome 81.0.4044": "Chrome 81", "Mobile Safari 13.1": "Safari 13",
		"Rich Client 5.2.8.0": "Rich Client 5", "IE 11.0": "Internet Explorer 11", "Firefox": "Firefox 0", "": " 0",
		"Chrome Mobile 81.0": "Chrome 81", "IELTS 3": "IELTS 3",
	} {
		family, major := Browser(s)
		if got := fmt.Sprint(family, " ", major); got != want {
			t.Errorf("Browser(%q) = %q, want %q", s, got, want)
		}
	}
}

func TestUniqueStringsAreForgotten(t *testing.T) {
	p := parser(t)
	for i := range 1000 {
		p.Parse(fmt.Sprintf("unique/%d %s", i, strings.Repeat("a", 10_000)))
	}
	if n := p.cache.Len(); n != 64 {
		t.Errorf("%d strings are remembered, want 64", n)
	}
	for _, s := range p.cache.Keys() {
		if len(s) > maxInput {
			t.Fatalf("a string of %d bytes is remembered", len(s))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"Mozilla/5.0 (Windows NT 10.0) Edg/131.0", "BAV2ROPC", "(((", "a/b/c/d;;;(", "XiaoMi/MiuiBrowser/1", "Instagram 1", "\xff\xfe", "Android", "Mac OS X"} {
		f.Add(s)
	}
	p := parser(f)
	f.Fuzz(func(t *testing.T, s string) {
		got := p.Parse(s)
		for _, name := range []string{got.OS, got.Browser, got.Type, OS(s)} {
			if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q gives %q", s, name)
			}
		}
		if got.BrowserMajor < 0 || got.BrowserMajor > maxMajor {
			t.Errorf("%q gives version %d", s, got.BrowserMajor)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	const s = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.51"
	p := parser(b)
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Parse(s)
		}
	})
	b.Run("unique", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.Parse(fmt.Sprint(s, i))
		}
	})
}
