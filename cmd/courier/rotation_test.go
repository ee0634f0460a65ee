package main

import (
	"crypto/rsa"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-io/countersign/internal/set"
)

// keeper is a receiver's copy of the JWKS. A strict one fetches it when its max-age is over and never before, so that a key
// it does not know is one that it refuses. The other one keeps it for ever, and fetches it once for a key it does not know.
type keeper struct {
	client *http.Client
	urls   []string // of the couriers, any of which may answer
	strict bool

	mu      sync.Mutex
	known   map[string]*rsa.PublicKey
	until   time.Time
	asked   map[string]bool
	fetches int
}

func (k *keeper) key(kid string) *rsa.PublicKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.strict && time.Now().After(k.until), !k.strict && k.known[kid] == nil && !k.asked[kid]:
		k.asked[kid] = true
		k.fetch()
	}
	return k.known[kid]
}

// fetch is called with k.mu held. It asks the couriers until one answers: one of them may have been killed.
func (k *keeper) fetch() {
	k.fetches++
	for range 200 {
		r, err := k.client.Get(k.urls[rand.N(len(k.urls))])
		if err != nil {
			<-time.After(20 * time.Millisecond)
			continue
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		age, found := strings.CutPrefix(r.Header.Get("Cache-Control"), "public, max-age=")
		seconds, err2 := strconv.Atoi(age)
		known, err3 := parseJWKS(body)
		if err != nil || err2 != nil || err3 != nil || !found || r.StatusCode != http.StatusOK {
			continue
		}
		k.known, k.until = known, time.Now().Add(time.Duration(seconds)*time.Second)
		return
	}
}

// TestKeysAreExchangedUnderLoad puts new keys into the directory of two couriers and takes old ones away while SETs flow, one
// courier is killed, and receivers keep the JWKS for as long as they may: not one SET is refused.
func TestKeysAreExchangedUnderLoad(t *testing.T) {
	t.Parallel()
	exchanges := 3
	if testing.Short() {
		exchanges = 1
	}
	const before = 3 * time.Second
	c := newCouple(t, func(config string) string {
		return strings.Replace(config, "signing_keys: {", "signing_keys: {publish_before: 3s, jwks_max_age: 1s, reload_every: 50ms, ", 1)
	})
	dir := filepath.Join(c.dir, "keys")
	p := c.another(t, push)
	u, err := url.Parse(p.endpoint(t, "jwks_uri"))
	if err != nil {
		t.Fatal(err)
	}
	var jwks []string
	for _, base := range c.bases {
		jwks = append(jwks, base+u.Path)
	}
	keeping := func(strict bool) *keeper {
		return &keeper{client: c.client, urls: jwks, strict: strict, asked: map[string]bool{}}
	}
	ledger := newLedger(t, p.keys(t))
	strict, lazy := keeping(true), keeping(false)
	for name, k := range map[string]*keeper{"strict": strict, "lazy": lazy} {
		one := newSink(t, ledger, name, nil)
		one.find = k.key
		p.open(t, pushTo(one.URL), sessionRevoked)
	}
	stream, _ := p.open(t, object{"method": poll}, sessionRevoked)
	path, err := url.Parse(pollURL(stream))
	if err != nil {
		t.Fatal(err)
	}
	polling := &poller{client: c.client, token: p.token, path: path.Path, bases: c.bases[:], ledger: ledger, name: "polled", max: 10, find: strict.key}
	ctx := t.Context()
	var working sync.WaitGroup
	working.Go(func() { polling.run(ctx) })
	t.Cleanup(working.Wait)

	box := c.outbox(t)
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-enough:
				return
			case <-tick.C:
				box.revoke(t, tenant, fmt.Sprint("user-", n%10))
			}
		}
	}()
	old, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(old) != 1 {
		t.Fatalf("keys %q: %v", old, err)
	}
	for n := range exchanges {
		path, key, err := set.NewKeyFile(dir, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		byTheBook := n%2 == 1
		if !byTheBook { // somebody is in a hurry: a courier that runs bears it
			for _, name := range old {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			old = nil
		}
		for _, name := range []string{"strict", "lazy", "polled"} {
			ledger.until(t, name+" has got a SET of the new key", func() bool {
				ledger.mu.Lock()
				defer ledger.mu.Unlock()
				all := ledger.taken[name]
				return len(all) > 0 && all[len(all)-1].kid == key.KeyID()
			})
		}
		if byTheBook {
			c.kill(1)
			c.start(t, 1)
			eventually(t, patience, func() bool { // until the old ones may go
				listed, err := set.ListKeys(dir, time.Now(), before)
				if err != nil {
					t.Fatal(err)
				}
				return listed[len(old)-1].Role == set.Old
			})
			for _, name := range old {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			old = nil
		}
		old = append(old, path)
	}
	close(enough)
	<-ended
	want := box.order(tenant)
	for _, name := range []string{"strict", "lazy", "polled"} {
		ledger.await(t, name, everything(want)...)
		ledger.complete(t, name, want)
	}
	if lazy.fetches > exchanges+1 {
		t.Errorf("the keys were fetched %d times for %d keys", lazy.fetches, exchanges+1)
	}
	t.Logf("%d decisions; the strict receiver has fetched the keys %d times, the lazy one %d times", len(everything(want)), strict.fetches, lazy.fetches)
}
