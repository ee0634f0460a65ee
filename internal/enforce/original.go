package enforce

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The ways in which proxies ask, and the paths under which they do.
const (
	pathNginx   = "/v1/nginx"
	pathTraefik = "/v1/traefik"
	pathEnvoy   = "/v1/envoy"
)

const maxURI = 16 << 10

// original is the request that a proxy asks about.
type original struct {
	proxy  string // nginx, traefik or envoy
	method string
	uri    *url.URL // path and query
	// readings are the paths that an application may take the request's for.
	readings []string
	// plain tells that all read the path alike.
	plain bool
}

// errProxy says that a proxy does not ask as it should.
var errProxy = errors.New("the proxy's configuration is wrong")

// errNoEndpoint is for requests that ask in none of the ways.
var errNoEndpoint = errors.New("no endpoint")

// originalOf tells which request a proxy asks about: nginx's auth_request and Traefik's ForwardAuth say it in headers, which
// they overwrite, Envoy's ext_authz asks with the method and, behind a prefix, the path of the request itself.
func originalOf(r *http.Request) (*original, error) {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case asked == pathNginx:
		return fromHeaders(r, "nginx", "X-Original-Method", "X-Original-URI")
	case asked == pathTraefik:
		return fromHeaders(r, "traefik", "X-Forwarded-Method", "X-Forwarded-Uri")
	case asked == pathEnvoy || strings.HasPrefix(asked, pathEnvoy+"/"):
		return newOriginal("envoy", r.Method, strings.TrimPrefix(r.RequestURI, pathEnvoy))
	}
	return nil, errNoEndpoint
}

func fromHeaders(r *http.Request, proxy, methodHeader, uriHeader string) (*original, error) {
	method, err := single(r.Header, methodHeader)
	if err != nil {
		return nil, err
	}
	uri, err := single(r.Header, uriHeader)
	if err != nil {
		return nil, err
	}
	return newOriginal(proxy, method, uri)
}

// single is the value of a header that must be there once. Of two, one is somebody else's.
func single(h http.Header, name string) (string, error) {
	switch values := h.Values(name); len(values) {
	case 1:
		return values[0], nil
	case 0:
		return "", fmt.Errorf("%w: it sends no header %s", errProxy, name)
	default:
		return "", fmt.Errorf("%w: it sends header %s %d times", errProxy, name, len(values))
	}
}

func newOriginal(proxy, method, uri string) (*original, error) {
	if !isToken(method) {
		return nil, errors.New("the request's method is none")
	}
	if len(uri) > maxURI {
		return nil, fmt.Errorf("the request's URI has %d bytes, at most %d are allowed", len(uri), maxURI)
	}
	for _, scheme := range []string{"http://", "https://"} { // the absolute form of RFC 9112 §3.2.2
		if len(uri) >= len(scheme) && strings.EqualFold(uri[:len(scheme)], scheme) {
			rest := uri[len(scheme):]
			uri = "/"
			if i := strings.IndexAny(rest, "/?"); i >= 0 {
				uri = rest[i:]
			}
		}
	}
	if uri == "" || uri == "*" || uri[0] == '?' {
		uri = "/" + strings.TrimPrefix(uri, "*")
	}
	if uri[0] != '/' || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		return nil, errors.New("the request's URI is none")
	}
	raw, query, _ := strings.Cut(uri, "?")
	decoded, err := url.PathUnescape(raw)
	if err != nil || strings.ContainsRune(decoded, 0) {
		return nil, errors.New("the request's path is not encoded as one")
	}
	return &original{
		proxy: proxy, method: method, uri: &url.URL{Path: decoded, RawPath: raw, RawQuery: query},
		readings: readings(raw, decoded), plain: plain(raw, decoded),
	}, nil
}

// readings are what applications and frameworks make of a path: they differ in how often they decode, whether they take an
// encoded or reverse slash for a slash, drop parameters after a semicolon, in whichever order, and whether they resolve dots
// and double slashes. A demand applies when one of the readings is below its path.
func readings(raw, decoded string) []string {
	stage, all := []string{raw}, []string(nil)
	for range 3 { // as it came, decoded, decoded twice
		var forms []string
		for _, text := range stage {
			slashes := strings.ReplaceAll(text, `\`, "/")
			forms = append(forms, text, slashes, withoutParameters(text), withoutParameters(slashes))
		}
		forms = distinct(forms)
		stage = nil
		for _, text := range forms {
			all = append(all, text, cleaned(text))
			if next, err := url.PathUnescape(text); err == nil {
				stage = append(stage, next)
			}
		}
	}
	return distinct(append(all, decoded))
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// plain tells whether every reader makes the same of a path: it has neither dot segments nor double slashes, no parameters,
// and nothing encoded that could be taken for one of these.
func plain(raw, decoded string) bool {
	if strings.Contains(raw, "//") || strings.ContainsAny(decoded, `;\%`) || !utf8.ValidString(decoded) || strings.ContainsFunc(decoded, unicode.IsControl) {
		return false
	}
	if lower := strings.ToLower(raw); strings.Contains(lower, "%2f") || strings.Contains(lower, "%2e") {
		return false
	}
	// Some file systems drop dots and spaces at the end of a name, so "..." and ".. " are dots too.
	return !slices.ContainsFunc(strings.Split(decoded, "/"), func(name string) bool {
		return name != "" && strings.Trim(name, ". ") == ""
	})
}

func withoutParameters(p string) string {
	segments := strings.Split(p, "/")
	for i := range segments {
		segments[i], _, _ = strings.Cut(segments[i], ";")
	}
	return strings.Join(segments, "/")
}

// cleaned is a path without dots, double slashes and a slash at its end.
func cleaned(p string) string { return path.Clean("/" + p) }

// below tells whether p is path or below it; ends are the characters with which its part below begins.
func below(p, route, ends string) bool {
	if route == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(p, route)
	return ok && (rest == "" || strings.IndexByte(ends, rest[0]) >= 0)
}

// about tells whether a list of methods holds the request's; an empty one holds all.
func (o *original) about(methods []string) bool {
	return len(methods) == 0 || slices.ContainsFunc(methods, func(m string) bool {
		return strings.EqualFold(m, o.method) || m == http.MethodGet && strings.EqualFold(o.method, http.MethodHead)
	})
}

// public tells whether the request needs no caller. A path that could be read in two ways does, unless all paths are public.
func (o *original) public(matches []Match) bool {
	return slices.ContainsFunc(matches, func(m Match) bool {
		return o.about(m.Methods) && (m.Path == "/" || o.plain && below(o.uri.Path, m.Path, "/") && below(o.uri.RawPath, m.Path, "/"))
	})
}

// demanded tells whether a route's proof is demanded, in one of the path's readings. Frameworks take a format at its end
// (/transfers.json) for the same route, and some drop spaces and dots there.
func (o *original) demanded(r *RouteConfig) bool {
	route := strings.ToLower(r.Path)
	return o.about(r.Methods) && slices.ContainsFunc(o.readings, func(p string) bool {
		return below(strings.ToLower(p), route, "/. \t")
	})
}

// believed tells whether an address is that of a proxy.
func believed(proxies []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// peer is the address of a connection's other end.
func peer(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr()
}

// clientIP is the address of the client: the last one in X-Forwarded-For that is no proxy's. What stands before it is
// whatever the client likes. "" is unknown.
func clientIP(r *http.Request, proxies []netip.Prefix) string {
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			if with, err2 := netip.ParseAddrPort(strings.TrimSpace(hop)); err2 == nil {
				addr, err = with.Addr(), nil
			}
		}
		if err != nil {
			return ""
		}
		if !believed(proxies, addr) {
			return addr.Unmap().String()
		}
	}
	return ""
}

// isToken tells a token of RFC 9110 §5.6.2, as methods and names of headers are.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
