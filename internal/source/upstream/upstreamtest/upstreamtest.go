// Package upstreamtest plays an HTTP API that misbehaves to a script, for tests of sources that ask one.
package upstreamtest

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Fault is what happens to one request instead of its answer.
type Fault string

// The faults.
const (
	// Throttled answers 429 with Retry-After: 0, ThrottledSilently without the header.
	Throttled         Fault = "429 with Retry-After"
	ThrottledSilently Fault = "429"
	// Broken answers 500, Unavailable 503 with Retry-After: 0.
	Broken      Fault = "500"
	Unavailable Fault = "503"
	// Expired answers 401: the token is no longer good.
	Expired Fault = "401"
	// Truncated sends half of the answer and closes the connection; Short sends half of it as if that were all.
	Truncated Fault = "truncated"
	Short     Fault = "short"
	// HungUp closes the connection without an answer.
	HungUp Fault = "hung up"
	// Gone answers 410: an address of a further page that is no longer known.
	Gone Fault = "410"
)

// Server is a handler behind a script of faults.
type Server struct {
	URL string
	// Host is the server's host:port.
	Host string

	mu       sync.Mutex
	script   []Fault
	requests []string
}

// New starts a server on loopback that ends with the test.
func New(t testing.TB, handler http.Handler) *Server {
	t.Helper()
	s := &Server{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, handler) }))
	t.Cleanup(server.Close)
	s.URL, s.Host = server.URL, strings.TrimPrefix(server.URL, "http://")
	return s
}

// Script puts faults before the next requests, one each; "" lets one through.
func (s *Server) Script(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, faults...)
}

// Requests are the requests so far, each as method and request URI.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// Left is how many faults of the script were not met yet.
func (s *Server) Left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.script)
}

func (s *Server) next(r *http.Request) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.RequestURI)
	if len(s.script) == 0 {
		return ""
	}
	f := s.script[0]
	s.script = s.script[1:]
	return f
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	switch f := s.next(r); f {
	case "":
		handler.ServeHTTP(w, r)
	case Throttled:
		w.Header().Set("Retry-After", "0")
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case ThrottledSilently:
		http.Error(w, "too many requests", http.StatusTooManyRequests)
	case Broken:
		http.Error(w, "internal error", http.StatusInternalServerError)
	case Unavailable:
		w.Header().Set("Retry-After", "0")
		http.Error(w, "come back later", http.StatusServiceUnavailable)
	case Expired:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "token expired", http.StatusUnauthorized)
	case Gone:
		http.Error(w, "gone", http.StatusGone)
	case Truncated, Short:
		whole := httptest.NewRecorder()
		handler.ServeHTTP(whole, r)
		maps.Copy(w.Header(), whole.Header())
		half := whole.Body.Bytes()[:whole.Body.Len()/2]
		if f == Truncated {
			w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
		}
		w.WriteHeader(whole.Code)
		_, _ = w.Write(half) // the client may be gone
	case HungUp:
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close() // that is the fault
		}
	}
}
