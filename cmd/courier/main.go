// Command courier delivers decisions to the receivers of Shared Signals streams, by push and by poll, and tells people of
// incidents.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("courier", []string{"courier", "ssf", "signing_keys", "notify"}, func(p *wiring.Process) error {
		if _, err := p.AddCourier(nil); err != nil {
			return err
		}
		return p.AddNotify()
	}))
}
