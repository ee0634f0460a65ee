// Command courier delivers decisions: to the receivers of Shared Signals streams, by push and by poll, to people, as alerts, and
// to identity providers, where sessions are ended at the source.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("courier", []string{"courier", "ssf", "signing_keys", "notify", "act"}, func(p *wiring.Process) error {
		if _, err := p.AddCourier(nil); err != nil {
			return err
		}
		if err := p.AddNotify(); err != nil {
			return err
		}
		return p.AddAct()
	}))
}
