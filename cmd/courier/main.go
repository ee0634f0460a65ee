// Command courier delivers decisions: to the receivers of Shared Signals streams, by push and by poll, to people, as alerts, and
// to identity providers, where sessions are ended at the source. Each of the three it does when it is configured.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.MainWith("courier", wiring.CourierSections, (*wiring.Process).AddCouriers))
}
