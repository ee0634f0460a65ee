package notify

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/countersign-io/countersign/internal/events"
	"github.com/countersign-io/countersign/internal/notify/incident"
)

// syslog sends RFC 5424 messages that carry CEF: one in a datagram (RFC 5426), or with its length before it over TCP and TLS
// (RFC 6587 §3.4.1, RFC 5425). It opens a connection for each message, so that a collector that went away is noticed; syslog
// has no acknowledgement, so over UDP and TCP a message may be lost that counts as sent.
type syslog struct {
	network, address, host string
}

// maxDatagram is what every collector must take (RFC 5425 §4.3.1).
const maxDatagram = 2048

func newSyslog(address string) (*syslog, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("url: is no address")
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	return &syslog{network: u.Scheme, address: u.Host, host: header(host, 255)}, nil
}

func (s *syslog) send(ctx context.Context, m *Message) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	line := s.line(m)
	var conn net.Conn
	var err error
	switch s.network {
	case "udp":
		conn, err = (&net.Dialer{}).DialContext(ctx, "udp", s.address)
		line = []byte(events.Cut(string(line), maxDatagram))
	case "tcp":
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	default:
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", s.address)
	}
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a connection just opened takes one
	}
	if s.network != "udp" {
		line = append([]byte(strconv.Itoa(len(line))+" "), line...)
	}
	if _, err := conn.Write(line); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// line is the message: facility 4 (security), the message's id as MSGID is too long, so it is in CEF.
func (s *syslog) line(m *Message) []byte {
	levels := map[events.Severity]int{events.Critical: 2, events.High: 3, events.Medium: 4, events.Low: 5}
	level, known := levels[m.Severity]
	if !known || m.Phase == incident.Resolved {
		level = 6
	}
	const security = 4
	return fmt.Appendf(nil, "<%d>1 %s %s countersign - incident - %s", security*8+level,
		m.Updated.Time().UTC().Format("2006-01-02T15:04:05.000Z"), s.host, cef(m))
}

// header is a field of the header: printable ASCII without spaces (RFC 5424 §6).
func header(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), limit)]
}

// cef writes the Common Event Format: in the head backslash and pipe are escaped, in the extension backslash and equals sign;
// line breaks are gone by then.
func cef(m *Message) string {
	weights := map[events.Severity]int{events.Info: 1, events.Low: 3, events.Medium: 5, events.High: 8, events.Critical: 10}
	head := strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	value := strings.NewReplacer(`\`, `\\`, `=`, `\=`)
	var b strings.Builder
	fmt.Fprintf(&b, "CEF:0|Countersign|countersign|1|%s|%s|%d|", head.Replace(string(m.Kind)+"-"+string(m.Phase)), head.Replace(plain(m.TitleText)), weights[m.Severity])
	fields := [][2]string{
		{"externalId", m.Incident.ID},
		{"rt", strconv.FormatInt(int64(m.Updated), 10)},
		{"start", strconv.FormatInt(int64(m.Since), 10)},
		{"end", number(int64(m.Closed))},
		{"cnt", strconv.Itoa(m.Findings)},
		{"suid", m.User},
		{"suser", m.UserName},
		{"src", m.IP},
		{"act", string(m.Action)},
		{"outcome", string(m.Ending)},
		{"cs1Label", "tenant"},
		{"cs1", m.Tenant},
		{"cs2Label", "detections"},
		{"cs2", strings.Join(m.Detections, ",")},
		{"cs3Label", "policy"},
		{"cs3", m.Policy},
		{"cs4Label", "requirement"},
		{"cs4", m.Requirement},
		{"cs5Label", "message"},
		{"cs5", m.ID},
		{"request", m.Link},
		{"msg", m.Summary},
	}
	for k, f := range fields {
		labelled := strings.HasSuffix(f[0], "Label") && k+1 < len(fields) && fields[k+1][1] == ""
		if f[1] == "" || labelled {
			continue
		}
		if !strings.HasSuffix(b.String(), "|") {
			b.WriteByte(' ')
		}
		b.WriteString(f[0] + "=" + value.Replace(plain(f[1])))
	}
	return b.String()
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
