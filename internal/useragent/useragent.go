// Package useragent reduces user-agent strings, and the operating systems and browsers that identity providers name, to
// families: "Windows", "Edge", "script". Families are compared with earlier ones; versions change too often for that.
//
// The strings are the attacker's choice. Their length is bounded before they are looked at, what comes out is short and
// printable, and the memory for remembered strings is bounded, so that unique strings cost a few microseconds each and
// nothing else.
package useragent

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/mileusna/useragent"
)

// The types of device a user agent can tell; "" is unknown.
const (
	Desktop = "desktop"
	Mobile  = "mobile"
	Tablet  = "tablet"
	Bot     = "bot"
	// Script is a program that signs in without a browser: an HTTP library, a command-line tool, a token library, an
	// old mail protocol.
	Script = "script"
)

const (
	maxInput = 512 // bytes of a string that are looked at; browsers use about 120
	maxName  = 48  // bytes of a family name
)

// Family is what a user agent is, without versions that change weekly.
type Family struct {
	OS, Browser string
	// BrowserMajor is the browser's major version, 0 when unknown.
	BrowserMajor int
	Type         string
}

// Parser turns strings into families and remembers the most recent ones. It is safe for concurrent use.
type Parser struct {
	cache *lru.Cache[string, Family]
}

// New returns a parser that remembers up to size strings.
func New(size int) (*Parser, error) {
	cache, err := lru.New[string, Family](size)
	if err != nil {
		return nil, fmt.Errorf("creating the user-agent cache: %w", err)
	}
	return &Parser{cache: cache}, nil
}

// Parse returns the family of a user-agent string. What is empty or says nothing has the zero Family.
func (p *Parser) Parse(s string) Family {
	if s == "" {
		return Family{}
	}
	if len(s) > maxInput {
		s = s[:maxInput]
	}
	if f, ok := p.cache.Get(s); ok {
		return f
	}
	f := parse(s)
	// The string may share memory with a whole request.
	p.cache.Add(strings.Clone(s), f)
	return f
}

func parse(s string) Family {
	s = printable(s)
	if name, major, ok := program(s); ok {
		return Family{Browser: name, BrowserMajor: major, Type: Script}
	}
	ua := useragent.Parse(s)
	f := Family{OS: OS(ua.OS), BrowserMajor: min(max(ua.VersionNo.Major, 0), maxMajor)}
	f.Browser, _ = Browser(ua.Name)
	switch {
	case ua.Bot:
		f.Type = Bot
	case ua.Tablet:
		f.Type = Tablet
	case ua.Mobile:
		f.Type = Mobile
	case ua.Desktop:
		f.Type = Desktop
	}
	return f
}

// program recognises strings of programs: by their first word, or by a mark anywhere in it.
func program(s string) (name string, major int, ok bool) {
	lower := strings.ToLower(s)
	first := lower
	if i := strings.IndexAny(first, "/ ;(,"); i >= 0 {
		first = first[:i]
	}
	if name, ok = programs[first]; ok {
		return name, majorOf(s[len(first):]), true
	}
	for _, m := range marks {
		if i := strings.Index(lower, m.mark); i >= 0 {
			return m.name, majorOf(s[i+len(m.mark):]), true
		}
	}
	return "", 0, false
}

// programs are the first words of programs' strings, in lower case.
var programs = map[string]string{
	"bav2ropc":               "BAV2ROPC", // basic authentication turned into an OAuth password grant
	"cbainprod":              "CBAInPROD",
	"cbaintar":               "CBAInTAR",
	"msal":                   "MSAL",
	"msal-node":              "MSAL",
	"msal.python":            "MSAL",
	"msal.net":               "MSAL",
	"adal":                   "ADAL",
	"azsdk-go-azidentity":    "Azure SDK",
	"azurecli":               "Azure CLI",
	"azure-cli":              "Azure CLI",
	"azurepowershell":        "Azure PowerShell",
	"aws-cli":                "AWS CLI",
	"aws-sdk-go":             "AWS SDK",
	"boto3":                  "AWS SDK",
	"python-requests":        "python-requests",
	"python-urllib":          "Python urllib",
	"python-httpx":           "Python httpx",
	"python":                 "Python",
	"aiohttp":                "Python aiohttp",
	"go-http-client":         "Go http",
	"go-resty":               "Go http",
	"fasthttp":               "Go http",
	"curl":                   "curl",
	"libcurl":                "curl",
	"pycurl":                 "curl",
	"wget":                   "Wget",
	"axios":                  "axios",
	"node-fetch":             "Node.js",
	"node":                   "Node.js",
	"undici":                 "Node.js",
	"got":                    "Node.js",
	"okhttp":                 "OkHttp",
	"java":                   "Java",
	"java-http-client":       "Java",
	"apache-httpclient":      "Java",
	"jakarta":                "Java",
	"ruby":                   "Ruby",
	"faraday":                "Ruby",
	"guzzlehttp":             "PHP",
	"php":                    "PHP",
	"libwww-perl":            "Perl",
	"lwp":                    "Perl",
	"restsharp":              "RestSharp",
	"postmanruntime":         "Postman",
	"insomnia":               "Insomnia",
	"httpie":                 "HTTPie",
	"rclone":                 "rclone",
	"reqwest":                "Rust reqwest",
	"hyper":                  "Rust hyper",
	"powershell":             "PowerShell",
	"windowspowershell":      "PowerShell",
	"microsoft.odata.client": "OData",
	"microsoft.data.mashup":  "Power Query",
	"fasthttpclient":         "Go http",
	"evolution":              "Evolution",
}

// marks are found anywhere: these strings pretend to be an old browser first.
var marks = []struct{ mark, name string }{
	{"msal ", "MSAL"},
	{"msal.", "MSAL"},
	{"adal ", "ADAL"},
	{"windowspowershell/", "PowerShell"},
	{"powershell/", "PowerShell"},
	{"python-requests/", "python-requests"},
	{"go-http-client/", "Go http"},
}

const maxMajor = 9999

// majorOf reads the first number of a text such as "/131.0.2".
func majorOf(s string) int {
	n, digits := 0, 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			if digits++; digits > 4 {
				return 0
			}
			n = n*10 + int(c-'0')
		case digits > 0:
			return n
		case c != '/' && c != ' ' && c != 'v':
			return 0
		}
	}
	return n
}

// printable drops what is not a printable character.
func printable(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= 0x20 && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// short bounds a name without cutting a character.
func short(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return strings.TrimSpace(s)
}
