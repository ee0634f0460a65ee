package useragent

import "strings"

// name maps how a name begins, in lower case without blanks, to its family.
type name struct{ prefix, family string }

// systems are operating systems. A longer prefix comes before the shorter one it begins with.
var systems = []name{
	{"windowsphone", "Windows Phone"},
	{"windows", "Windows"},
	{"win32", "Windows"},
	{"win64", "Windows"},
	{"macos", "macOS"},
	{"macintosh", "macOS"},
	{"macintel", "macOS"},
	{"darwin", "macOS"},
	{"iphone", "iOS"},
	{"ipados", "iOS"},
	{"ipad", "iOS"},
	{"ios", "iOS"},
	{"android", "Android"},
	{"chromeos", "ChromeOS"},
	{"cros", "ChromeOS"},
	{"ubuntu", "Linux"},
	{"debian", "Linux"},
	{"fedora", "Linux"},
	{"linux", "Linux"},
	{"freebsd", "FreeBSD"},
}

// browsers are browsers and rich clients.
var browsers = []name{
	{"edge", "Edge"},
	{"microsoftedge", "Edge"},
	{"edg", "Edge"},
	{"headlesschrome", "Headless Chrome"},
	{"chrome", "Chrome"},
	{"chromium", "Chrome"},
	{"mobilechrome", "Chrome"},
	{"firefox", "Firefox"},
	{"mobilefirefox", "Firefox"},
	{"mobilesafari", "Safari"},
	{"safari", "Safari"},
	{"samsungbrowser", "Samsung Browser"},
	{"samsunginternet", "Samsung Browser"},
	{"operamini", "Opera Mini"},
	{"opera", "Opera"},
	{"internetexplorer", "Internet Explorer"},
	{"msie", "Internet Explorer"},
	{"ie", "Internet Explorer"},
	{"richclient", "Rich Client"},
}

// OS reduces the name of an operating system to its family: "Windows 10", "Windows10" and "windows" are "Windows". A
// name nobody knows stays, without version and shortened; what stands for "unknown" becomes "".
func OS(s string) string {
	family, _ := reduce(systems, s)
	return family
}

// Browser reduces the name of a browser to its family and major version: "Edge 131.0.2903" is ("Edge", 131).
func Browser(s string) (family string, major int) {
	return reduce(browsers, s)
}

func reduce(table []name, s string) (family string, major int) {
	if s == "" {
		return "", 0
	}
	if len(s) > maxInput {
		s = s[:maxInput]
	}
	s = strings.TrimSpace(printable(s))
	text, version := s, ""
	// The version is what follows the first digit after a blank or slash, or ends the word as in "Windows10".
	if i := strings.IndexAny(s, "0123456789"); i > 0 {
		text, version = strings.TrimRight(s[:i], " /vV."), s[i:]
	}
	major = majorOf(version)
	if family, ok := known(table, text); ok {
		return family, major
	}
	switch strings.ToLower(text) {
	case "", "-", "unknown", "other", "null", "none", "n/a":
		return "", 0
	}
	return short(text), major
}

// known finds the family of a name that begins with a known one.
func known(table []name, s string) (string, bool) {
	squeezed := strings.ToLower(strings.ReplaceAll(s, " ", ""))
	for _, n := range table {
		if strings.HasPrefix(squeezed, n.prefix) {
			// "ie" begins many words.
			if len(n.prefix) < 4 && len(squeezed) > len(n.prefix) {
				continue
			}
			return n.family, true
		}
	}
	return "", false
}
