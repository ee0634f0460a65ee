package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/api/apidoc"
)

func openapiCommand() *cobra.Command {
	var out string
	var markdown bool
	cmd := &cobra.Command{
		Use:   "openapi",
		Short: "Print the OpenAPI description of the REST interface",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := api.Document()
			if err != nil {
				return err
			}
			if markdown {
				if document, err = apidoc.Markdown(document); err != nil {
					return err
				}
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(document)
				return err
			}
			if err := os.WriteFile(out, document, 0o644); err != nil { //nolint:gosec // a public document
				return fmt.Errorf("writing the document: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write it to this file")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "as a page for people")
	return cmd
}
