package jwks

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keyServer answers for an issuer's keys as it is told, and counts what it is asked.
type keyServer struct {
	mu      sync.Mutex
	jwks    string // "" is a black hole
	fetches int
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches++
	jwks := s.jwks
	s.mu.Unlock()
	if jwks == "" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(jwks)), Request: r}, nil
}

func (s *keyServer) publish(t *testing.T, kids ...string) {
	t.Helper()
	var jwks jose.JSONWebKeySet
	for _, kid := range kids {
		public, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		jwks.Keys = append(jwks.Keys, jose.JSONWebKey{Key: public, KeyID: kid})
	}
	raw, err := json.Marshal(jwks)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jwks = ""; len(kids) > 0 {
		s.jwks = string(raw)
	}
}

func (s *keyServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

func (s *keyServer) issuer() *Set {
	return New("https://i.example.com/keys", &http.Client{Transport: s}, time.Now)
}

// took is how long it takes to find the keys of kid.
func took(ctx context.Context, i *Set, kid string) (time.Duration, int, error) {
	began := time.Now()
	keys, err := i.Find(ctx, kid)
	return time.Since(began), len(keys), err
}

// TestAnIssuerThatDoesNotAnswerHoldsUpNobodyTwice: those that need its keys wait for one attempt, all together, and for none
// before the next is due.
func TestAnIssuerThatDoesNotAnswerHoldsUpNobodyTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(keyServer)
		i := s.issuer()
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if d, _, err := took(t.Context(), i, "k"); err == nil || d != fetchTime {
					t.Errorf("%v, %v", d, err)
				}
			})
		}
		all.Wait()
		time.Sleep(Retry - time.Second)
		if d, _, err := took(t.Context(), i, "k"); err == nil || d != 0 || s.asked() != 1 {
			t.Errorf("before the next attempt: %v, %v, %d fetches", d, err, s.asked())
		}
		time.Sleep(time.Second)
		if d, _, err := took(t.Context(), i, "k"); err == nil || d != fetchTime || s.asked() != 2 {
			t.Errorf("the next attempt: %v, %v, %d fetches", d, err, s.asked())
		}
		s.publish(t, "k")
		time.Sleep(Retry)
		if d, n, err := took(t.Context(), i, "k"); err != nil || d != 0 || n != 1 {
			t.Errorf("when it is back: %v, %d keys, %v", d, n, err)
		}
	})
}

// TestAKnownKeyDoesNotWaitForAnUnknownOne: made-up tokens do not slow down the others, and neither does an issuer that has
// gone: what its keys sign is good until they are stale.
func TestAKnownKeyDoesNotWaitForAnUnknownOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(keyServer)
		s.publish(t, "k", "withdrawn")
		i := s.issuer()
		known := func(when, kid string, want time.Duration) {
			t.Helper()
			if d, n, err := took(t.Context(), i, kid); err != nil || n != 1 || d != want {
				t.Errorf("%s: %v, %d keys, %v", when, d, n, err)
			}
		}
		known("first", "k", 0)
		time.Sleep(Every)
		s.publish(t)
		var unknown sync.WaitGroup
		unknown.Go(func() {
			if _, n, err := took(t.Context(), i, "made up"); err == nil || n != 0 {
				t.Errorf("%d keys, %v", n, err)
			}
		})
		synctest.Wait()
		known("while another is sought", "k", 0)
		unknown.Wait()
		known("fresh", "k", 0)

		time.Sleep(Fresh)
		known("not fresh any more", "k", fetchTime)
		time.Sleep(Retry)
		before := s.asked()
		known("while the issuer is known to be away", "k", 0)
		synctest.Wait()
		if s.asked() != before+1 {
			t.Error("nobody looks whether it is back")
		}
		time.Sleep(fetchTime + Retry)
		s.publish(t, "k")
		known("it is back", "k", 0)
		synctest.Wait()
		if _, n, err := took(t.Context(), i, "withdrawn"); err != nil || n != 0 {
			t.Errorf("a key that was withdrawn meanwhile: %d, %v", n, err)
		}
		s.publish(t)
		time.Sleep(Stale)
		if d, _, err := took(t.Context(), i, "k"); err == nil || d != fetchTime {
			t.Errorf("stale: %v, %v", d, err)
		}
	})
}

// TestWhoHasGoneDoesNotWaitForKeys: and who still waits gets them.
func TestWhoHasGoneDoesNotWaitForKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := new(keyServer)
		i := s.issuer()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if d, _, err := took(ctx, i, "k"); !errors.Is(err, context.DeadlineExceeded) || d != time.Second {
			t.Errorf("%v, %v", d, err)
		}
		if d, _, err := took(t.Context(), i, "k"); err == nil || d != fetchTime-time.Second || s.asked() != 1 {
			t.Errorf("%v, %v, %d fetches", d, err, s.asked())
		}
	})
}
