package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/countersign-io/countersign/internal/api"
	"github.com/countersign-io/countersign/internal/config"
	"github.com/countersign-io/countersign/internal/embedded/engine"
	"github.com/countersign-io/countersign/internal/history"
	"github.com/countersign-io/countersign/internal/wiring"
)

// APIVerb is the hidden command with which a bench starts the API as a process of its own.
const APIVerb = "api-child"

// APIChild is that command: it runs the API by a configuration file, prints its address when it serves, and ends when
// standard input does.
func APIChild(file string, in io.Reader, out io.Writer) error {
	cfg, err := config.Load(wiring.DefaultConfig(), file, nil, "kafka", "topics", "api", "clickhouse", "detector")
	if err != nil {
		return err
	}
	log, err := zap.NewProduction(zap.IncreaseLevel(zap.WarnLevel))
	if err != nil {
		return fmt.Errorf("making a logger: %w", err)
	}
	p, err := wiring.Open(cfg, log)
	if err != nil {
		return err
	}
	p.AddTopics()
	a, err := p.AddAPI()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	return p.Run(ctx, func() {
		if addr, err := a.Addr(ctx); err == nil {
			fmt.Fprintln(out, addr)
		}
	})
}

// APIOptions say what the API is measured with.
type APIOptions struct {
	// Events of so many Users fill the history.
	Events, Users int
	// Data is the engine's directory; a history that a run before left there is taken as it is. Empty: one of the run.
	Data string
	// Keep leaves Data behind.
	Keep bool
	// Rounds is how often each question is asked, Viewers how many watch the live feed for LiveSeconds.
	Rounds, Viewers, LiveSeconds int
}

// API measures the dashboard's questions over a filled history, through the HTTP interface of an API in a process of its
// own, each asked many times with tenants, people and spans of all lengths; that process's memory with many viewers of the
// live feed; and what the history takes on disk.
func API(ctx context.Context, o Options, opts APIOptions) (figures []Figure, err error) {
	if opts.Data == "" {
		opts.Data = filepath.Join(o.Dir, "engine")
	} else if !opts.Keep {
		defer func() { err = errors.Join(err, os.RemoveAll(opts.Data)) }()
	}
	eng, err := engine.Start(ctx, engineConfig(opts.Data), engine.Deps{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	store, raw, err := filledHistory(ctx, o, eng, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := settled(ctx, o, store); err != nil {
		return nil, err
	}
	size, err := store.Sizes(ctx)
	if err != nil {
		return nil, err
	}
	figures = sizeFigures(size, raw)

	cluster, address, stop, err := startBroker(ctx, filepath.Join(o.Dir, "broker"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	server, err := startAPI(ctx, o, eng, address)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	asked, err := askAll(ctx, o, server, store, opts.Rounds)
	if err != nil {
		return nil, err
	}
	live, err := watchLive(ctx, o, server, cluster, opts.Viewers, opts.LiveSeconds)
	if err != nil {
		return nil, err
	}
	return append(append(asked, live...), figures...), nil
}

// fillNote is what a fill leaves beside the data, for the next run.
type fillNote struct {
	Events   int64 `json:"events"`
	RawBytes int64 `json:"raw_bytes"`
}

// filledHistory opens the history, and fills it when it is not. raw is the records' mean size, in bytes.
func filledHistory(ctx context.Context, o Options, eng *engine.Engine, opts APIOptions) (store *history.Store, raw float64, err error) {
	cfg := history.DefaultConfig()
	cfg.URLs, cfg.User, cfg.Password, cfg.InsertTimeout = []string{"http://" + eng.Addr()}, engine.User, eng.Key(), 10*time.Minute
	// What is older than the retention would go while it is measured.
	cfg.Retention.EventDays, cfg.Retention.DecisionDays = 800, 800
	if store, err = history.Open(cfg); err != nil {
		return nil, 0, err
	}
	if _, err = store.Migrate(ctx); err != nil {
		return nil, 0, errors.Join(err, store.Close())
	}
	var note fillNote
	file := filepath.Join(opts.Data, "filled.json")
	text, err := os.ReadFile(file)
	switch {
	case err == nil:
		err = json.Unmarshal(text, &note)
		o.Progress("taking the %d events that are there", note.Events)
	case errors.Is(err, fs.ErrNotExist):
		var f *filled
		if f, err = fillHistory(ctx, o, store, opts.Events, opts.Users); err == nil {
			note = fillNote{f.events.Load(), f.rawBytes.Load()}
			if text, err = json.Marshal(note); err == nil {
				err = os.WriteFile(file, text, 0o600)
			}
		}
	}
	if err == nil && note.Events == 0 {
		err = fmt.Errorf("%s: says that there are no events, delete %s", file, opts.Data)
	}
	if err != nil {
		return nil, 0, errors.Join(err, store.Close())
	}
	return store, float64(note.RawBytes) / float64(note.Events), nil
}

// settled gives the engine some time to merge what was just written, and has the quiet months merged: in life it has
// months for that.
func settled(ctx context.Context, o Options, store *history.Store) error {
	if err := store.MergeQuiet(ctx); err != nil {
		return err
	}
	for limit := time.Now().Add(2 * time.Minute); time.Now().Before(limit); {
		n, err := store.Merging(ctx)
		if err != nil || n == 0 {
			return err
		}
		o.Progress("%d merges are running", n)
		if err := sleepUntil(ctx, time.Now().Add(5*time.Second)); err != nil {
			return err
		}
	}
	return nil
}

// sizeFigures are those of bytes for an event. Bare is the record itself, as JSON.
func sizeFigures(size history.Sizes, raw float64) []Figure {
	per := func(bytes uint64) float64 { return float64(bytes) / float64(max(size.Events, 1)) }
	return []Figure{
		figure("history.bytes_per_event", per(size.EventColumns+size.Sums), "bytes", raw),
		figure("history.bytes_per_event{columns}", per(size.EventColumns), "bytes", raw),
		figure("history.bytes_per_event{sums}", per(size.Sums), "bytes", raw),
		figure("history.bytes_per_event{raw}", per(size.Raw), "bytes", raw),
	}
}

// apiServer is an API in a process of its own.
type apiServer struct {
	*child
	base, token string
	client      *http.Client
}

func startAPI(ctx context.Context, o Options, eng *engine.Engine, broker string) (*apiServer, error) {
	secret := rand.Text()
	sum := sha256.Sum256([]byte(secret))
	password := filepath.Join(o.Dir, "clickhouse.password")
	if err := os.WriteFile(password, []byte(eng.Key()), 0o600); err != nil {
		return nil, fmt.Errorf("writing a password: %w", err)
	}
	cfg := wiring.DefaultConfig()
	cfg.Kafka.Brokers = []string{broker}
	cfg.Telemetry.Listen = ""
	cfg.ClickHouse.URLs, cfg.ClickHouse.User, cfg.ClickHouse.PasswordFile = []string{"http://" + eng.Addr()}, engine.User, password
	cfg.API.Listen = "127.0.0.1:0"
	cfg.API.Tokens = []api.Token{{Name: "bench", SHA256: hex.EncodeToString(sum[:]), Tenants: []string{api.AllTenants}, Role: "admin"}}
	// All that one asks here many would.
	cfg.API.MaxLiveClientsEach, cfg.API.RequestsPerSecond, cfg.API.RequestBurst = cfg.API.MaxLiveClients, 10_000, 10_000
	text, err := yaml.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("writing a configuration: %w", err)
	}
	file := filepath.Join(o.Dir, "api.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing a configuration: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, APIVerb, file)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the api: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the api: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the api: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for the api's address: %w", err), in.Close(), cmd.Wait())
	}
	return &apiServer{
		child: &child{cmd, in}, base: "http://" + strings.TrimSpace(line), token: secret,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: time.Minute},
	}, nil
}

// get asks a path of the API and decodes the answer.
func (s *apiServer) get(ctx context.Context, path string, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, fmt.Errorf("asking %s: %w", path, err)
	}
	if resp.StatusCode == http.StatusOK && into != nil {
		err = json.Unmarshal(body, into)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		err = fmt.Errorf("asking %s: status %d, %.300s", path, resp.StatusCode, body)
	}
	return resp.StatusCode, err
}
