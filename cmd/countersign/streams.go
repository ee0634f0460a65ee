package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign-io/countersign/internal/courier"
	"github.com/countersign-io/countersign/internal/peer"
	"github.com/countersign-io/countersign/internal/ssf"
)

// operatorFlags say how to reach a courier as an operator.
type operatorFlags struct {
	url, tokenFile, caFile string
	json                   bool
}

func streamsCommand() *cobra.Command {
	f := new(operatorFlags)
	root := &cobra.Command{
		Use: "streams", Short: "Show and operate the Shared Signals streams of receivers",
		Long: "Ask a courier, any one, about the streams of receivers. The defaults are those of `countersign up` with its data in ./data.",
	}
	flags := root.PersistentFlags()
	flags.StringVar(&f.url, "courier", "https://127.0.0.1:8443", "address of a courier")
	flags.StringVar(&f.tokenFile, "token-file", "data/operator.token", "file with an operator's token (courier.operator_tokens)")
	flags.StringVar(&f.caFile, "ca-file", "data/tls.crt", "file with the authority of the courier's certificate; empty for those of the system")
	flags.BoolVar(&f.json, "json", false, "print the courier's answer")

	list := &cobra.Command{
		Use: "list", Short: "List the streams: whose, how they stand, what waits", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var answer struct {
				Streams []courier.StreamView `json:"streams"`
			}
			raw, err := f.call(c.Context(), http.MethodGet, "streams", nil, &answer)
			if err != nil {
				return err
			}
			return f.print(c.OutOrStdout(), raw, answer.Streams)
		},
	}
	root.AddCommand(list, f.createCommand(), f.deleteCommand(),
		f.onStream("verify ID", "Have a verification SET sent, which shows that the stream works", nil),
		f.replayCommand(), f.emitCommand(),
		f.onStream("pause ID", "Hold a stream's SETs; its receiver is told", reasoned),
		f.onStream("enable ID", "Go on with a stream", reasoned),
		f.onStream("disable ID", "End what a stream transmits, without holding anything; its receiver is told", reasoned),
	)
	return root
}

// reasoned adds the reason that a receiver is told.
func reasoned(c *cobra.Command) func() (any, error) {
	reason := c.Flags().String("reason", "", "why, for the receiver")
	return func() (any, error) { return map[string]string{"reason": *reason}, nil }
}

// createCommand makes a stream for a receiver that never calls: those of Google and Okta.
func (f *operatorFlags) createCommand() *cobra.Command {
	var q struct {
		Receiver        string   `json:"receiver"`
		DefaultSubjects string   `json:"default_subjects,omitempty"`
		Requested       []string `json:"events_requested,omitempty"`
		Description     string   `json:"description,omitempty"`
		Audience        []string `json:"aud,omitempty"`
		Delivery        struct {
			Method        string `json:"method"`
			URL           string `json:"endpoint_url,omitempty"`
			Authorization string `json:"authorization_header,omitempty"`
		} `json:"delivery"`
	}
	var method, authorizationFile string
	c := &cobra.Command{
		Use: "create --receiver CLIENT --endpoint URL", Short: "Make a stream in the place of a receiver that cannot", Args: cobra.NoArgs,
		Long: "Make a stream for a client of ssf.clients that never calls the transmitter, as those of Google Workspace and Okta.\n" +
			"Its secret is read from a file, so that it is in no list of processes and no history.",
	}
	flags := c.Flags()
	flags.StringVar(&q.Receiver, "receiver", "", "the client's id in ssf.clients")
	flags.StringVar(&method, "method", "push", "push or poll")
	flags.StringVar(&q.Delivery.URL, "endpoint", "", "where SETs are pushed to, https")
	flags.StringVar(&authorizationFile, "authorization-file", "", "file with the Authorization header that goes with every push, such as: Bearer ...")
	flags.StringSliceVar(&q.Requested, "event", nil, "an event type's URI that is wanted, repeated; all standard ones when left out")
	flags.StringVar(&q.DefaultSubjects, "default-subjects", "", "ALL or NONE; the tenant's when left out")
	flags.StringSliceVar(&q.Audience, "aud", nil, "with apple-sse: the audience, of those that the client may have")
	flags.StringVar(&q.Description, "description", "", "for people")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case q.Receiver == "":
			return errors.New("--receiver: is empty, must be a client's id in ssf.clients")
		case method != "push" && method != "poll":
			return fmt.Errorf("--method: is %.40q, must be push or poll", method)
		case (method == "push") != (q.Delivery.URL != ""):
			return errors.New("--endpoint: goes with --method push, which needs it")
		}
		if q.Delivery.Method = ssf.MethodPush; method == "poll" {
			q.Delivery.Method = ssf.MethodPoll
		}
		if authorizationFile != "" {
			secret, err := os.ReadFile(authorizationFile)
			if err != nil {
				return fmt.Errorf("--authorization-file: %w", err)
			}
			q.Delivery.Authorization = strings.TrimSpace(string(secret))
		}
		var view courier.StreamView
		raw, err := f.call(c.Context(), http.MethodPost, "streams", q, &view)
		if err != nil {
			return err
		}
		return f.print(c.OutOrStdout(), raw, []courier.StreamView{view})
	}
	return c
}

func (f *operatorFlags) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a stream for good, with what waits for it; its receiver is not told", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var view courier.StreamView
			raw, err := f.call(c.Context(), http.MethodDelete, "streams/"+url.PathEscape(args[0]), nil, &view)
			if err != nil {
				return err
			}
			if f.json {
				return f.print(c.OutOrStdout(), raw, nil)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "stream %s of %s is deleted\n", view.ID, view.Receiver)
			return err
		},
	}
}

// onStream is a verb about one stream. flags, when set, adds flags and returns what makes the request's body of them.
func (f *operatorFlags) onStream(use, short string, flags func(*cobra.Command) func() (any, error)) *cobra.Command {
	verb, _, _ := strings.Cut(use, " ")
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1)}
	body := func() (any, error) { return struct{}{}, nil }
	if flags != nil {
		body = flags(c)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		content, err := body()
		if err != nil {
			return err
		}
		var view courier.StreamView
		raw, err := f.call(c.Context(), http.MethodPost, "streams/"+url.PathEscape(args[0])+"/"+verb, content, &view)
		if err != nil {
			return err
		}
		if view.Result != "" && !f.json {
			fmt.Fprintf(c.OutOrStdout(), "stream %s: %s\n", view.ID, view.Result)
		}
		return f.print(c.OutOrStdout(), raw, []courier.StreamView{view})
	}
	return c
}

func (f *operatorFlags) replayCommand() *cobra.Command {
	c := f.onStream("replay ID", "Send SETs again, with the ids they had: since a time, or one that is in the dead letters", func(c *cobra.Command) func() (any, error) {
		since := c.Flags().Duration("since", 0, "how far back, such as 2h; all decisions since then that are still on the log")
		jti := c.Flags().String("jti", "", "the one SET, with --partition and --offset as its dead letter says")
		partition := c.Flags().Int("partition", -1, "where its decision is on the log")
		offset := c.Flags().Int64("offset", -1, "where its decision is on the log")
		return func() (any, error) {
			switch one := *jti != "" || *partition >= 0 || *offset >= 0; {
			case one == (*since > 0):
				return nil, errors.New("give --since, or --jti with --partition and --offset")
			case one && (*jti == "" || *partition < 0 || *offset < 0):
				return nil, errors.New("one SET needs --jti, --partition and --offset, as its dead letter says them")
			case one:
				return map[string]any{"jti": *jti, "partition": *partition, "offset": *offset}, nil
			}
			return map[string]any{"since": time.Now().Add(-*since).UTC()}, nil
		}
	})
	return c
}

func (f *operatorFlags) emitCommand() *cobra.Command {
	return f.onStream("emit ID", "Send one made-up event of a type, marked as such, to see what the receiver does", func(c *cobra.Command) func() (any, error) {
		kind := c.Flags().String("type", "", "the event type's URI, one that the stream delivers")
		return func() (any, error) {
			if *kind == "" {
				return nil, errors.New("--type: give the event type's URI")
			}
			return map[string]string{"type": *kind}, nil
		}
	})
}

// call asks the courier. It returns the answer as it came, and reads it into v.
func (f *operatorFlags) call(ctx context.Context, method, path string, body, v any) ([]byte, error) {
	cfg := peer.Config{URL: f.url, TokenFile: f.tokenFile}
	if strings.HasPrefix(f.url, "https:") {
		cfg.CAFile = f.caFile
	}
	courier, err := peer.Open(cfg, nil)
	if err != nil {
		return nil, fmt.Errorf("--courier, --token-file, --ca-file: %w", err)
	}
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("writing the request: %w", err)
		}
	}
	raw, err := courier.Call(ctx, method, "/operator/v1/"+path, "application/json", content)
	if said, ok := errors.AsType[*peer.Error](err); ok {
		return nil, fmt.Errorf("the courier answers %d: %s", said.Status, said.Problem)
	} else if err != nil {
		return nil, fmt.Errorf("asking the courier: %w", err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("reading the courier's answer: %w", err)
	}
	return raw, nil
}

func (f *operatorFlags) print(out io.Writer, raw []byte, streams []courier.StreamView) error {
	if f.json {
		_, err := out.Write(append(bytes.TrimSpace(raw), '\n'))
		return err
	}
	if len(streams) == 0 {
		_, err := fmt.Fprintln(out, "no streams: receivers make them (docs/apps.md)")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "STREAM\tRECEIVER\tTENANT\tMETHOD\tSTATUS\tPENDING\tLAG\tLAST SUCCESS\tTROUBLE")
	for i := range streams {
		s := &streams[i]
		status, last := string(s.Status), "-"
		if s.Reason != "" {
			status += fmt.Sprintf(" (%q)", s.Reason)
		}
		if s.LastSuccess != nil {
			last = s.LastSuccess.Format(time.RFC3339)
		}
		trouble := "-"
		switch {
		case s.Unknown:
			trouble = "its courier did not answer: " + s.HeldBy
		case s.FailingSince != nil:
			trouble = fmt.Sprintf("since %s: %q", s.FailingSince.Format(time.RFC3339), s.LastError)
		case s.LastError != "":
			trouble = fmt.Sprintf("%q", s.LastError)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", s.ID, s.Receiver, s.Tenant, s.Method, status, s.Pending, s.Lag, last, trouble)
	}
	return w.Flush()
}
