//go:build linux && (amd64 || arm64)

package engine

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
)

const (
	maxStatementBytes = 16 << 20
	maxInsertBytes    = 4 << 30
	maxWaiting        = 256
	appendBytes       = 1 << 20
	// stallTimeout bounds how long a client may neither send nor take a piece,
	// so that a hung one does not hold a place for ever.
	stallTimeout = 2 * time.Minute
)

// A server answers the ClickHouse HTTP interface from the engine of this
// process. Every statement runs on a connection of its own, opened in 0.2 ms
// and closed afterwards: settings, current database and temporary tables
// cannot reach the next request, by construction.
type server struct {
	key     string
	args    []string // of every connection
	limits  map[string]uint64
	places  chan struct{} // one for each statement that may run at a time
	waiting atomic.Int64
}

func newServer(b *boot) *server {
	return &server{
		key:  b.Key,
		args: b.arguments(),
		limits: map[string]uint64{
			"max_threads":      uint64(b.MaxThreads),
			"max_memory_usage": b.MaxQueryMemoryBytes,
		},
		places: make(chan struct{}, b.MaxStatements),
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-ClickHouse-Timezone", "UTC")
	switch {
	case r.URL.Path == "/ping" && r.Method == http.MethodGet:
		_, _ = io.WriteString(w, "Ok.\n")
		return
	case r.URL.Path != "/" && r.URL.Path != "":
		http.NotFound(w, r)
		return
	case !s.authenticated(r):
		answer(w, newException(codeAuthentication, "AUTHENTICATION_FAILED",
			"%s: Authentication failed: password is incorrect, or there is no user with such name", User))
		return
	}
	if err := s.serve(w, r); err != nil {
		var e *exception
		if !errors.As(err, &e) {
			e = newException(codeUnknownException, "UNKNOWN_EXCEPTION", "%s", err)
		}
		answer(w, e)
	}
}

// authenticated accepts the key in X-ClickHouse-Key, or as the password of
// basic authentication, which is how clickhouse-go sends it without TLS.
func (s *server) authenticated(r *http.Request) bool {
	user, key, basic := r.BasicAuth()
	if !basic {
		user, key = r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	}
	sameKey := subtle.ConstantTimeCompare([]byte(key), []byte(s.key)) == 1
	return sameKey && user == User
}

// answer sends an exception the way the server does. Nothing may have been
// written before.
func answer(w http.ResponseWriter, e *exception) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	w.WriteHeader(e.Status)
	_, _ = io.WriteString(w, e.Text+"\n")
}

// serve runs one request. An error means that no byte of a result was sent.
func (s *server) serve(w http.ResponseWriter, r *http.Request) error {
	body := &bodyReader{body: http.MaxBytesReader(w, r.Body, maxInsertBytes), deadline: http.NewResponseController(w)}
	// A client reads the answer only once its body was taken.
	defer body.drain()
	if r.Method != http.MethodPost {
		return newException(codeNotImplemented, "NOT_IMPLEMENTED", "%s: statements are sent by POST", r.Method)
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return newException(codeNotImplemented, "NOT_IMPLEMENTED", "Content-Encoding %q: the embedded engine takes uncompressed bodies only", e)
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return newException(codeNotImplemented, "NOT_IMPLEMENTED", "multipart bodies (external tables) are not supported by the embedded engine")
	}
	req, err := parseRequest(r.URL.Query())
	if err != nil {
		return err
	}
	statement := req.query
	if statement == "" {
		if statement, err = body.text(maxStatementBytes); err != nil {
			return err
		}
	}
	if req.queryID == "" {
		req.queryID = rand.Text()
	}
	w.Header().Set("X-ClickHouse-Query-Id", req.queryID)

	leave, err := s.enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	conn, err := connect(s.args)
	if err != nil {
		return err
	}
	defer conn.close()
	if err := s.prepare(conn, req); err != nil {
		return err
	}
	if insert, ok := splitInsert(statement); ok {
		return s.insert(w, conn, req, insert, body)
	}
	if n, _ := io.ReadFull(body, make([]byte, 1)); n > 0 {
		return newException(codeNotImplemented, "NOT_IMPLEMENTED", "a body beside the query parameter is taken as the rows of INSERT ... FORMAT only")
	}
	if !errors.Is(body.err, io.EOF) {
		return body.failure("the body")
	}
	return s.run(w, r, conn, req, statement)
}

// enter waits for a place to run a statement in.
func (s *server) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-s.places }
	select {
	case s.places <- struct{}{}:
		return leave, nil
	default:
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > maxWaiting {
		return nil, newException(codeTooManyQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many simultaneous queries: %d run and %d wait", cap(s.places), maxWaiting)
	}
	select {
	case s.places <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, newException(codeClientDisconnection, "NETWORK_ERROR", "the client left while waiting")
	}
}

// prepare gives a fresh connection the request's database and settings.
func (s *server) prepare(conn *connection, req *request) error {
	if req.database != "" && req.database != "default" {
		if _, err := conn.query("USE "+quoteIdentifier(req.database), "Null", nil, nil); err != nil {
			return err
		}
	}
	if set := setStatement(req.settings, s.limits); set != "" {
		if _, err := conn.query(set, "Null", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// insert streams inline data and body into the engine. The answer comes after
// the rows are written. A body that breaks off cancels the statement.
func (s *server) insert(w http.ResponseWriter, conn *connection, req *request, insert insertStatement, body *bodyReader) error {
	stream, err := conn.insert(insert.head, insert.format, req.params)
	if err != nil {
		return err
	}
	defer stream.close()
	data := io.MultiReader(strings.NewReader(insert.inline), body)
	buffer := make([]byte, appendBytes)
	for {
		n, readErr := io.ReadFull(data, buffer)
		// ReadFull calls a short last piece and a broken body alike.
		if readErr != nil && !errors.Is(body.err, io.EOF) {
			return body.failure("the rows")
		}
		if err := stream.append(buffer[:n]); err != nil {
			return err
		}
		if readErr != nil {
			break
		}
	}
	written, err := stream.finish()
	if err != nil {
		return err
	}
	w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d"}`, written))
	return nil
}

// run executes a statement without data and sends its result.
func (s *server) run(w http.ResponseWriter, r *http.Request, conn *connection, req *request, statement string) error {
	if emptyStatement(statement) {
		return newException(codeSyntaxError, "SYNTAX_ERROR", "Empty query")
	}
	statements, class := conn.classify(statement)
	if statements > 1 {
		e := newException(codeSyntaxError, "SYNTAX_ERROR", "Multi-statements are not allowed: the text holds %d", statements)
		e.Status = http.StatusNotImplemented
		return e
	}
	format := outputFormat(statement)
	if format == "" {
		format = req.format
	}
	result := newResult(r.Context(), w, format, req.revision)
	var err error
	if v := verb(statement); class == classReadOnly && (v == "SELECT" || v == "WITH") {
		err = conn.stream(statement, req.format, req.params, result.send)
	} else {
		// The engine streams SELECT alone; all else has a small result.
		var written uint64
		written, err = conn.query(statement, req.format, req.params, result.send)
		if err == nil && !result.started {
			w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d"}`, written))
		}
	}
	if err != nil && result.started {
		result.abort(err)
	}
	result.deadline.SetWriteDeadline(time.Time{}) // the connection goes on
	return err
}

// A result sends chunks of the engine's output to the client.
type result struct {
	w        http.ResponseWriter
	ctx      context.Context //nolint:containedctx // a result is one request's
	deadline *http.ResponseController
	format   string
	revision uint64 // 0: pass the output through
	tag      string
	buffer   chproto.Buffer
	started  bool // the status is sent, an error can no longer change it
}

func newResult(ctx context.Context, w http.ResponseWriter, format string, revision uint64) *result {
	r := &result{w: w, ctx: ctx, deadline: http.NewResponseController(w), format: format}
	if format == "Native" {
		r.revision = revision
	}
	return r
}

func (r *result) send(chunk []byte) error {
	if len(chunk) == 0 {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("the client left: %w", err)
	}
	out := chunk
	if r.revision > 0 {
		r.buffer.Reset()
		if err := transcode(&r.buffer, chunk, r.revision); err != nil {
			return err
		}
		out = r.buffer.Buf
	}
	if !r.started {
		r.started = true
		r.tag = newTag()
		h := r.w.Header()
		h.Set("Content-Type", contentType(r.format))
		h.Set("X-ClickHouse-Format", r.format)
		h.Set("X-ClickHouse-Exception-Tag", r.tag)
	}
	r.deadline.SetWriteDeadline(time.Now().Add(stallTimeout))
	_, err := r.w.Write(out)
	return err
}

// abort tells the client of an error behind the first byte of a result: in the
// frame that the server uses, and by breaking the connection off, so that a
// client that knows no frame cannot take the part for the whole.
func (r *result) abort(err error) {
	var e *exception
	if !errors.As(err, &e) {
		e = newException(codeUnknownException, "UNKNOWN_EXCEPTION", "%s", err)
	}
	message := e.Text
	if len(message) > 8<<10 {
		message = message[:8<<10]
	}
	fmt.Fprintf(r.w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", r.tag, message, len(message)+1, r.tag)
	r.deadline.Flush()
	panic(http.ErrAbortHandler)
}

func newTag() string {
	raw := make([]byte, 12)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw) // 16 characters
}

func contentType(format string) string {
	switch {
	case format == "Native" || strings.HasPrefix(format, "RowBinary"):
		return "application/octet-stream"
	case strings.HasPrefix(format, "JSON"):
		return "application/json; charset=UTF-8"
	}
	return "text/plain; charset=UTF-8"
}

// A bodyReader reads a request's body and remembers how it ended.
type bodyReader struct {
	body     io.Reader
	deadline *http.ResponseController
	err      error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	b.deadline.SetReadDeadline(time.Now().Add(stallTimeout))
	n, err := b.body.Read(p)
	if err != nil {
		b.err = err
		// Left in place it would fire in a long statement, as if the client
		// had gone.
		b.deadline.SetReadDeadline(time.Time{})
	}
	return n, err
}

// failure words the error that ended the body.
func (b *bodyReader) failure(what string) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](b.err); ok {
		return newException(codeTooLarge, "TOO_MANY_BYTES", "reading %s: more than %d bytes", what, tooLarge.Limit)
	}
	return newException(codeClientDisconnection, "NETWORK_ERROR", "reading %s: %s", what, b.err)
}

// text reads the whole body as a statement.
func (b *bodyReader) text(limit int64) (string, error) {
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(b, limit+1))
	if err != nil {
		return "", b.failure("the statement")
	}
	if n > limit {
		return "", newException(codeTooLarge, "TOO_MANY_BYTES", "the statement is longer than %d bytes", limit)
	}
	return text.String(), nil
}

func (b *bodyReader) drain() { _, _ = io.Copy(io.Discard, b) }
