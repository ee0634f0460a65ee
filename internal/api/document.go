package api

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// The dashboard's types come from the first file, the second is for people.
//
//go:generate go run ../../cmd/countersign openapi --out ../../web/openapi.json
//go:generate go run ../../cmd/countersign openapi --markdown --out ../../docs/api.md

// Document is the OpenAPI description of the REST interface, as /v1/openapi.json serves it but indented. It needs no
// service.
func Document() ([]byte, error) {
	a := &API{cfg: DefaultConfig()}
	b, err := json.MarshalIndent(a.describe(http.NewServeMux()).OpenAPI(), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	return append(b, '\n'), nil
}
