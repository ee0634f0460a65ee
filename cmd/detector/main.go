// Command detector folds the events of its partitions into findings and revocations.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("detector", []string{"detector"}, (*wiring.Process).AddDetector))
}
