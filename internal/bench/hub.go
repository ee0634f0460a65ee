package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// hub writes what Azure Event Hubs delivers of Entra's sign-ins: messages of many diagnostic records of mixed
// categories, as large and as full as real ones. Ids are unique; everything else comes from a company of people with
// homes, phones and habits, so that caches meet what they meet in life.
type hub struct {
	rng    *rand.Rand
	people []person
	at     time.Time
	// hostile gives every record a user agent of its own.
	hostile bool
	n       int
}

type person struct {
	id, name string
	home     string
	mobile   string
	agent    string
	browser  string
	os       string
	device   string
	session  string
}

// perMessage is how many records a message holds.
const perMessage = 100

func newHub(seed uint64, people int, hostile bool) *hub {
	h := &hub{rng: rand.New(rand.NewPCG(seed, 1)), at: time.Now().Add(-6 * time.Hour).UTC(), hostile: hostile}
	oses := []struct{ name, agent string }{
		{"Windows10", "Windows NT 10.0; Win64; x64"},
		{"Windows11", "Windows NT 10.0; Win64; x64"},
		{"MacOs", "Macintosh; Intel Mac OS X 10_15_7"},
		{"Ios 18.1", "iPhone; CPU iPhone OS 18_1 like Mac OS X"},
		{"Android 15", "Linux; Android 15; Pixel 8"},
	}
	for n := range people {
		system, major := oses[h.rng.IntN(len(oses))], 120+h.rng.IntN(15)
		h.people = append(h.people, person{
			id: h.guid(), name: fmt.Sprintf("user%d@example.com", n), home: h.address(), mobile: h.address(),
			agent:   fmt.Sprintf("Mozilla/5.0 (%s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36 Edg/%d.0.0.0", system.agent, major, major),
			browser: fmt.Sprintf("Edge %d.0.0", major), os: system.name, device: h.guid(), session: h.guid(),
		})
	}
	return h
}

func (h *hub) guid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", h.rng.Uint32(), h.rng.IntN(1<<16), h.rng.IntN(1<<12), h.rng.IntN(1<<12), h.rng.Int64N(1<<48))
}

// address is a public IPv4 address.
func (h *hub) address() string {
	for {
		a := [4]int{1 + h.rng.IntN(222), h.rng.IntN(256), h.rng.IntN(256), 1 + h.rng.IntN(254)}
		if a[0] != 10 && a[0] != 127 && a[0] != 100 && a[0] != 172 && a[0] != 192 && a[0] != 169 {
			return fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
		}
	}
}

const benchTenant = "0f6c2b1e-3a57-4d0c-9d5e-7b1a2c4d6e80"

// message is the next message, {"records":[…]}.
func (h *hub) message(records int) []byte {
	var b strings.Builder
	b.WriteString(`{"records":[`)
	for n := range records {
		if n > 0 {
			b.WriteByte(',')
		}
		h.record(&b)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

// record writes a sign-in: three in four are token redemptions, as in life.
func (h *hub) record(b *strings.Builder) {
	p := &h.people[h.rng.IntN(len(h.people))]
	h.at = h.at.Add(time.Duration(h.rng.IntN(20)) * time.Millisecond)
	h.n++
	ip := p.home
	switch h.rng.IntN(20) {
	case 0:
		ip = h.address() // somewhere new
	case 1, 2, 3:
		ip = p.mobile
	}
	agent := p.agent
	if h.hostile {
		agent = fmt.Sprintf("Mozilla/5.0 (Windows NT 10.0; Win64; x64; %s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.%d.0 Safari/537.36", h.guid(), h.n%200, h.n)
	}
	category, interactive, steps := "NonInteractiveUserSignInLogs", "false", `[]`
	details := "MFA requirement satisfied by claim in the token"
	created := h.at.Format("2006-01-02T15:04:05.0000000+00:00")
	if h.rng.IntN(4) == 0 {
		category, interactive, details = "SignInLogs", "true", "MFA completed in Azure AD"
		steps = fmt.Sprintf(`[{"authenticationStepDateTime":%q,"authenticationMethod":"Password","authenticationMethodDetail":"Password Hash Sync","succeeded":true,"authenticationStepRequirement":"Primary authentication","authenticationStepResultDetail":"Correct password","StatusSequence":0,"RequestSequence":1},`+
			`{"authenticationStepDateTime":%q,"authenticationMethod":"Mobile app notification","succeeded":true,"authenticationStepResultDetail":"MFA successfully completed","authenticationStepRequirement":"Multifactor authentication","StatusSequence":1,"RequestSequence":0}]`, created, created)
	}
	id, correlation := h.guid(), h.guid()
	fmt.Fprintf(b, `{"time":%q,"resourceId":"/tenants/%s/providers/Microsoft.aadiam","operationName":"Sign-in activity","operationVersion":"1.0","category":%q,"tenantId":%q,"resultType":"0","resultSignature":"SUCCESS","resultDescription":"","durationMs":0,"callerIpAddress":%q,"correlationId":%q,"identity":%q,"Level":4,"location":"NL","properties":{`,
		h.at.Add(2*time.Minute).Format("2006-01-02T15:04:05.0000000Z"), benchTenant, category, benchTenant, ip, correlation, p.name)
	fmt.Fprintf(b, `"id":%q,"createdDateTime":%q,"userDisplayName":%q,"userPrincipalName":%q,"userId":%q,"appId":"c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b00","appDisplayName":"Example Portal","ipAddress":%q,`+
		`"status":{"errorCode":0,"additionalDetails":%q},"clientAppUsed":"Browser","userAgent":%q,"deviceDetail":{"deviceId":%q,"displayName":"LAPTOP-1","operatingSystem":%q,"browser":%q,"isCompliant":true,"isManaged":true,"trustType":"Azure AD joined"},`+
		`"location":{"city":"Utrecht","state":"Utrecht","countryOrRegion":"NL","geoCoordinates":{"latitude":52.0908,"longitude":5.1222}},"mfaDetail":{},"correlationId":%q,"conditionalAccessStatus":"success",`,
		id, created, p.name, p.name, p.id, ip, details, agent, p.device, p.os, p.browser, correlation)
	b.WriteString(benchPolicies)
	fmt.Fprintf(b, `"authenticationContextClassReferences":[],"originalRequestId":%q,"isInteractive":%s,"tokenIssuerName":"","tokenIssuerType":"AzureAD","authenticationProcessingDetails":[{"key":"Legacy TLS (TLS 1.0, 1.1, 3DES)","value":"False"},{"key":"Is CAE Token","value":"True"}],`+
		`"networkLocationDetails":[{"networkType":"trustedNamedLocation","networkNames":["Head office"]}],"processingTimeInMilliseconds":112,"riskDetail":"none","riskLevelAggregated":"none","riskLevelDuringSignIn":"none","riskState":"none","riskEventTypes":[],"riskEventTypes_v2":[],`+
		`"resourceDisplayName":"Example API","resourceId":"e8f1b6d0-0a4c-4c8e-b7a5-1d2f3c4b5a60","resourceTenantId":%q,"homeTenantId":%q,"tenantId":%q,"authenticationDetails":%s,"authenticationRequirementPolicies":[{"requirementProvider":"multiConditionalAccess","detail":"Conditional Access"}],`+
		`"sessionLifetimePolicies":[],"authenticationRequirement":"multiFactorAuthentication","servicePrincipalId":"","userType":"Member","flaggedForReview":false,"isTenantRestricted":false,"autonomousSystemNumber":1136,"crossTenantAccessType":"none","privateLinkDetails":{},`+
		`"ssoExtensionVersion":"","uniqueTokenIdentifier":%q,"authenticationStrengths":[],"incomingTokenType":"primaryRefreshToken","authenticationProtocol":"none","appServicePrincipalId":null,"resourceServicePrincipalId":%q,"rngcStatus":0,"signInTokenProtectionStatus":"bound",`+
		`"tokenProtectionStatusDetails":{"signInSessionStatus":"bound","signInSessionStatusCode":0},"originalTransferMethod":"none","isThroughGlobalSecureAccess":false,"sessionId":%q}}`,
		id, interactive, benchTenant, benchTenant, benchTenant, steps, id[:22], p.device, p.session)
}

// benchPolicies are those of a small company: two had a say, four had none.
var benchPolicies = func() string {
	var policies []string
	for n, result := range []string{"success", "success", "notApplied", "notApplied", "notEnabled", "reportOnlyNotApplied"} {
		policies = append(policies, fmt.Sprintf(`{"id":"f0e1d2c3-b4a5-4968-8778-695a4b3c2d%02d","displayName":"Policy %d: require what is right","enforcedGrantControls":["Mfa"],"enforcedSessionControls":[],"result":%q,"conditionsSatisfied":3,"conditionsNotSatisfied":0}`, n, n, result))
	}
	return `"appliedConditionalAccessPolicies":[` + strings.Join(policies, ",") + `],`
}()

// writeMessages writes messages with n records altogether to a file, each after its length.
func (h *hub) writeMessages(path string, n int) (size int64, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, fmt.Errorf("writing messages: %w", err)
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	for range n / perMessage {
		m := h.message(perMessage)
		var length [4]byte
		binary.LittleEndian.PutUint32(length[:], uint32(len(m)))
		if _, err := out.Write(append(length[:], m...)); err != nil {
			return 0, fmt.Errorf("writing messages: %w", err)
		}
		size += int64(len(m))
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("writing messages: %w", err)
	}
	return size, nil
}

// readMessages hands every message of a file to fn, in memory that is used again.
func readMessages(path string, fn func(message []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading messages: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	var length [4]byte
	var buf []byte
	for {
		if _, err := io.ReadFull(in, length[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading messages: %w", err)
		}
		size := int(binary.LittleEndian.Uint32(length[:]))
		if size > cap(buf) {
			buf = make([]byte, size)
		}
		if _, err := io.ReadFull(in, buf[:size]); err != nil {
			return fmt.Errorf("reading messages: %w", err)
		}
		if err := fn(buf[:size]); err != nil {
			return err
		}
	}
}
