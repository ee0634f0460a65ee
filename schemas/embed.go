// Package schemas holds the JSON Schemas of countersign's wire forms, one for each topic; README.md says what may change.
package schemas

import "embed"

// FS holds the schemas, such as "event.v1.json".
//
//go:embed *.v1.json
var FS embed.FS
