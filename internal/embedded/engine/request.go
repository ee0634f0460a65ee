package engine

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A param is a query parameter or a setting.
type param struct{ name, value string }

// A request is what the URL of a ClickHouse HTTP request says.
type request struct {
	query    string // "" when the statement is the body
	database string
	queryID  string
	format   string  // default output format
	revision uint64  // client_protocol_version; 0: revision-0 Native
	settings []param // sorted by name
	params   []param // sorted by name
}

// Parameters of the HTTP interface that are neither setting nor query
// parameter, and that change nothing here.
var transportOnly = map[string]bool{
	"quota_key":                                    true,
	"wait_end_of_query":                            true,
	"buffer_size":                                  true,
	"send_progress_in_http_headers":                true,
	"http_write_exception_in_output_format":        true,
	"cancel_http_readonly_queries_on_client_close": true,
	"http_headers_progress_interval_ms":            true,
	"enable_http_compression":                      true,
	"http_response_buffer_size":                    true,
	"add_http_cors_header":                         true,
}

var settingName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,127}$`)

const (
	maxParams     = 1000
	maxParamValue = 1 << 20
)

// parseRequest reads the URL's parameters. Every error is an *exception.
func parseRequest(values url.Values) (*request, error) {
	r := &request{format: "TabSeparated"}
	if len(values) > maxParams {
		return nil, newException(codeTooLarge, "TOO_MANY_BYTES", "more than %d URL parameters", maxParams)
	}
	// First, because a client that compresses also sends settings for it.
	for _, name := range []string{"compress", "decompress"} {
		if value := values.Get(name); value != "0" && value != "false" && value != "" {
			return nil, newException(codeNotImplemented, "NOT_IMPLEMENTED", "%s=%s: the embedded engine takes and gives uncompressed bodies only", name, value)
		}
	}
	for name, all := range values {
		if len(all) != 1 {
			return nil, newException(codeNotImplemented, "NOT_IMPLEMENTED", "URL parameter %q is given %d times", name, len(all))
		}
		value := all[0]
		if len(value) > maxParamValue && name != "query" {
			return nil, newException(codeTooLarge, "TOO_MANY_BYTES", "URL parameter %q is longer than %d bytes", name, maxParamValue)
		}
		switch {
		case name == "query":
			r.query = value
		case name == "database":
			r.database = value
		case name == "query_id":
			r.queryID = value
		case name == "default_format":
			r.format = value
		case name == "client_protocol_version":
			revision, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return nil, newException(codeSyntaxError, "SYNTAX_ERROR", "client_protocol_version %q is not a number", value)
			}
			r.revision = revision
		case name == "compress" || name == "decompress":
		case name == "session_id" || name == "session_timeout" || name == "session_check":
			return nil, newException(codeNotImplemented, "NOT_IMPLEMENTED", "%s: the embedded engine keeps no sessions", name)
		case name == "user" || name == "password" || name == "role":
			return nil, newException(codeNotImplemented, "NOT_IMPLEMENTED", "%s: credentials belong in headers", name)
		case strings.HasPrefix(name, "param_"):
			r.params = append(r.params, param{strings.TrimPrefix(name, "param_"), value})
		case transportOnly[name]:
		case settingName.MatchString(name) && allowedSetting(name):
			r.settings = append(r.settings, param{name, value})
		default:
			return nil, newException(codeUnknownSetting, "UNKNOWN_SETTING", "Setting %q is unknown to the embedded engine or not allowed in it", name)
		}
	}
	byName := func(a, b param) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(r.settings, byName)
	slices.SortFunc(r.params, byName)
	return r, nil
}

// setStatement is the SET for the request's settings, "" when there are none.
// limits caps numeric settings: 0 means unlimited and so counts as above.
func setStatement(settings []param, limits map[string]uint64) string {
	if len(settings) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("SET ")
	for i, s := range settings {
		if i > 0 {
			b.WriteString(", ")
		}
		value := s.value
		if limit, ok := limits[s.name]; ok {
			if n, err := strconv.ParseUint(value, 10, 64); err == nil && (n == 0 || n > limit) {
				value = strconv.FormatUint(limit, 10)
			}
		}
		b.WriteString(s.name)
		b.WriteString(" = ")
		b.WriteString(quoteLiteral(value))
	}
	return b.String()
}

var (
	literalEscaper    = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`)
	identifierEscaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "\x00", `\0`)
)

func quoteLiteral(s string) string    { return "'" + literalEscaper.Replace(s) + "'" }
func quoteIdentifier(s string) string { return "`" + identifierEscaper.Replace(s) + "`" }
