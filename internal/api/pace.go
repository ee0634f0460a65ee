package api

import (
	"crypto/sha256"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// pace is a token bucket for each of many, in bounded memory. Who is not in it has a full bucket.
type pace struct {
	perSecond, burst float64

	mu      sync.Mutex
	buckets map[hash]bucket
	swept   time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

// How often one address may try to sign in.
const (
	signInsPerSecond = 0.5
	signInBurst      = 20
)

// maxBuckets bounds the buckets that are not full.
const maxBuckets = 20_000

func newPace(perSecond float64, burst int) *pace {
	return &pace{perSecond: perSecond, burst: float64(burst), buckets: map[hash]bucket{}}
}

// take takes one from a bucket and returns 0, or returns when there will be one.
func (p *pace) take(key hash, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.buckets[key]
	if !ok {
		if len(p.buckets) >= maxBuckets {
			p.sweep(now)
		}
		b = bucket{p.burst, now}
	}
	b.left = min(p.burst, b.left+max(0, now.Sub(b.at).Seconds())*p.perSecond)
	b.at = now
	if b.left < 1 {
		p.buckets[key] = b
		return time.Duration((1 - b.left) / p.perSecond * float64(time.Second))
	}
	b.left--
	p.buckets[key] = b
	return 0
}

// sweep forgets the buckets that are full by now, or any one when none is, or when it has looked a moment ago: limits are
// against load, and a stranger who has many addresses must not keep others out.
func (p *pace) sweep(now time.Time) {
	if now.Sub(p.swept) >= time.Second {
		p.swept = now
		for key, b := range p.buckets {
			if b.left+now.Sub(b.at).Seconds()*p.perSecond >= p.burst {
				delete(p.buckets, key)
			}
		}
	}
	for key := range p.buckets {
		if len(p.buckets) < maxBuckets {
			return
		}
		delete(p.buckets, key)
	}
}

// paceKey is whose bucket a principal's requests come from.
func paceKey(who *principal) hash {
	return sha256.Sum256([]byte(string(who.via) + "\x00" + who.name + "\x00" + who.subject))
}

// addressKey is whose bucket an address' sign-ins come from. A holder of IPv6 has 2⁶⁴ addresses, and so one bucket.
func addressKey(address string) hash {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() && !ip.Is4In6() {
		if prefix, err := ip.Prefix(64); err == nil {
			address = prefix.String()
		}
	}
	return sha256.Sum256([]byte(address))
}

// tooMany answers that one has to wait.
func tooMany(w http.ResponseWriter, wait time.Duration, detail string) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	problem(w, http.StatusTooManyRequests, detail)
}
