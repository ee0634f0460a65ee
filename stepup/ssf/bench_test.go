package stepupssf_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	stepupssf "github.com/countersign-io/countersign/stepup/ssf"
)

// BenchmarkPush is what one pushed SET costs, from the request to 202, without and with a store in a file.
func BenchmarkPush(b *testing.B) {
	for name, path := range map[string]string{"nothing kept": "", "kept": "store"} {
		b.Run(name, func(b *testing.B) {
			p := newTransmitter(b)
			a := p.app(stepupssf.Push, func(c *stepupssf.Config) {
				known(c)
				c.Applied, c.OnEvent = nil, nil
				if path != "" {
					c.Store = open(b, filepath.Join(b.TempDir(), path), 1<<30)
				}
			})
			sets := make([]string, b.N)
			for i := range sets {
				sets[i] = p.stepUp(fmt.Sprint("j", i), fmt.Sprint("u", i), "open")
			}
			b.ReportAllocs()
			b.SetParallelism(8)
			b.ResetTimer()
			var next atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if w := a.post(sets[next.Add(1)-1], nil); w.Code != http.StatusAccepted {
						b.Errorf("%d %s", w.Code, w.Body)
					}
				}
			})
		})
	}
}
