// Command courier delivers decisions to the receivers of Shared Signals streams, by push and by poll.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("courier", []string{"courier", "ssf", "signing_keys"}, func(p *wiring.Process) error {
		_, err := p.AddCourier(nil)
		return err
	}))
}
