package api

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// secure sets the headers of every answer. The policy allows what this server itself serves and nothing inline.
func secure(h http.Header, tls bool) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; font-src 'self'; "+
		"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if tls {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// origin is where a request comes from, without the port, and whether its way here was TLS. What a proxy tells counts when
// it is one of the trusted ones, and only for the last hop before them: the rest is the caller's word.
func (a *API) origin(r *http.Request) (address string, tls bool) {
	address, _, _ = net.SplitHostPort(r.RemoteAddr)
	tls = r.TLS != nil
	if !a.trusted(address) {
		return address, tls
	}
	if proto := r.Header.Values("X-Forwarded-Proto"); len(proto) > 0 {
		tls = strings.EqualFold(lastOf(proto), "https")
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		ip, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		address = ip.Unmap().String()
		if !a.trusted(address) {
			break
		}
	}
	return address, tls
}

// lastOf is the last entry of a header that is a list.
func lastOf(values []string) string {
	last := values[len(values)-1]
	return strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
}

func (a *API) trusted(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(a.proxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

// cookieName is a cookie's name. Over TLS it has the __Host- prefix, by which a browser takes it from this very host over
// TLS only.
func cookieName(r *http.Request, name string) string {
	if visitOf(r.Context()).tls {
		return "__Host-" + name
	}
	return name
}

const sessionCookieName = "countersign"

// sessionCookie is the secret of the session that a request belongs to; "" without one. Two of them are none: one was put
// there by somebody else.
func sessionCookie(r *http.Request) string {
	found := r.CookiesNamed(cookieName(r, sessionCookieName))
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// setCookie sets a cookie for this host that scripts cannot read. A negative ttl removes it.
func setCookie(w http.ResponseWriter, r *http.Request, name, value string, ttl time.Duration, site http.SameSite) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // the flags follow; Secure where the way here is TLS
		Name: cookieName(r, name), Value: value, Path: "/", MaxAge: int(ttl.Seconds()), HttpOnly: true, Secure: visitOf(r.Context()).tls, SameSite: site,
	})
}

// sameOrigin reports whether a browser says that this very site has made the request.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Values("Sec-Fetch-Site"); len(site) > 0 {
		return len(site) == 1 && site[0] == "same-origin"
	}
	origin := r.Header.Values("Origin")
	if len(origin) != 1 {
		return false
	}
	u, err := url.Parse(origin[0])
	return err == nil && u.Host != "" && u.Host == r.Host
}

// orderly refuses what no page of ours sends: a change by cookie that does not come from this site (a cookie is sent along by
// whoever makes the browser do so), and a body that is no JSON (a form of another site can send others).
func (a *API) orderly(w http.ResponseWriter, r *http.Request) bool {
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	if _, bearer := r.Header["Authorization"]; !bearer {
		site := r.Header.Get("Sec-Fetch-Site")
		if changes && !sameOrigin(r) || site == "cross-site" || site == "same-site" {
			a.metrics.crossSite.Inc()
			problem(w, http.StatusForbidden, "A request by cookie must come from the dashboard itself. Use a bearer token elsewhere.")
			return false
		}
	}
	if changes && r.ContentLength != 0 {
		kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if charset := parameters["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") || len(r.Header.Values("Content-Type")) > 1 {
			problem(w, http.StatusUnsupportedMediaType, "A body is JSON: Content-Type: application/json.")
			return false
		}
	}
	return true
}

// maxReturn bounds a path to return to, in bytes.
const maxReturn = 2048

// localPath returns a path of this site to go to after a sign-in, with its query; "/" for everything that is none. It never
// leads elsewhere, however a browser reads it.
func localPath(text string) string {
	if len(text) > maxReturn || !strings.HasPrefix(text, "/") || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune("\\\"'`<>", c) }) {
		return "/"
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.Contains(u.Path, `\`) {
		return "/"
	}
	clean := path.Clean(u.Path)
	if clean != "/" && strings.HasSuffix(u.Path, "/") {
		clean += "/"
	}
	if u.Path != clean || strings.HasPrefix(clean, "/v1/") || strings.HasPrefix(clean, "/oidc/") || clean == "/login" || clean == "/logout" {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, Fragment: u.Fragment, RawFragment: u.RawFragment}).String()
}
