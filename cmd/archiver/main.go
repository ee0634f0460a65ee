// Command archiver copies the log into ClickHouse.
package main

import (
	"os"

	"github.com/countersign-io/countersign/internal/wiring"
)

func main() {
	os.Exit(wiring.Main("archiver", []string{"archiver", "clickhouse"}, (*wiring.Process).AddArchiver))
}
