package pull

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/countersign-io/countersign/internal/stream"
)

// eventHubsPort is that of the Kafka endpoint of an Event Hubs namespace.
const eventHubsPort = "9093"

// eventHubsUser is the SASL user under which the password is a connection string.
const eventHubsUser = "$ConnectionString"

// maxConnectionString bounds the file that holds a connection string, in bytes.
const maxConnectionString = 4 << 10

// fromConnectionString fills in what the connection string says. It is the password as well, which the connection reads
// from the same file. No error holds any of it.
func (c *KafkaConfig) fromConnectionString() error {
	raw, err := os.ReadFile(c.ConnectionStringFile)
	if err != nil {
		return err
	}
	if len(raw) > maxConnectionString {
		return fmt.Errorf("%s has more than %d bytes, which no connection string has", c.ConnectionStringFile, maxConnectionString)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	broker, hub, encrypted, err := parseConnectionString(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.ConnectionStringFile, err)
	}
	c.Kafka.Brokers = []string{broker}
	c.Kafka.TLS.Enabled = encrypted
	c.Kafka.SASL = stream.SASLConfig{Mechanism: stream.SASLPlain, Username: eventHubsUser, PasswordFile: c.ConnectionStringFile}
	switch {
	case hub == "" && len(c.Topics) == 0:
		return errors.New("it is that of a namespace and names no event hub, list them under topics")
	case hub != "" && len(c.Topics) == 0:
		c.Topics = []string{hub}
	case hub != "" && (len(c.Topics) != 1 || c.Topics[0] != hub):
		return fmt.Errorf("it is that of the event hub %.80q only, and topics names others: use a connection string of the namespace, or remove topics", hub)
	}
	return nil
}

// parseConnectionString reads Endpoint=sb://<namespace>/;SharedAccessKeyName=...;SharedAccessKey=...;EntityPath=<hub>.
// The emulator, which says UseDevelopmentEmulator=true, speaks no TLS.
func parseConnectionString(text string) (broker, hub string, encrypted bool, err error) {
	if text != strings.TrimSpace(text) || strings.ContainsAny(text, "\"'\n\r\x00") {
		return "", "", false, errors.New("it must hold the connection string alone, without spaces, quotes or further lines")
	}
	fields := make(map[string]string)
	for field := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(field, "=")
		if ok {
			fields[strings.ToLower(name)] = value
		} else if field != "" {
			return "", "", false, errors.New("it is no connection string: every field must be name=value, separated by semicolons")
		}
	}
	endpoint, err := url.Parse(fields["endpoint"])
	if err != nil || endpoint.Scheme != "sb" || endpoint.Hostname() == "" {
		return "", "", false, errors.New("its Endpoint is missing or not of the form sb://<namespace>.servicebus.windows.net/")
	}
	if fields["sharedaccesssignature"] == "" && (fields["sharedaccesskeyname"] == "" || fields["sharedaccesskey"] == "") {
		return "", "", false, errors.New("it has no SharedAccessKeyName and SharedAccessKey")
	}
	port := endpoint.Port()
	encrypted = !strings.EqualFold(fields["usedevelopmentemulator"], "true")
	if port == "" {
		if port = eventHubsPort; !encrypted {
			port = "9092"
		}
	}
	return net.JoinHostPort(endpoint.Hostname(), port), fields["entitypath"], encrypted, nil
}
