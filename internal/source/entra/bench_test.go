package entra

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/countersign-io/countersign/internal/events"
)

// hubBatch is an Event Hubs message of n records as a tenant of some thousand users sends them: mostly redeemed tokens,
// then interactive sign-ins with their steps and a dozen policies, programs, audits and risks. Every record is whole: the
// members that nobody reads are there too. Records differ, and the same seed gives the same message.
func hubBatch(tb testing.TB, n int, seed uint64) []byte {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var out bytes.Buffer
	out.WriteString(`{"records":[`)
	for i := range n {
		if i > 0 {
			out.WriteByte(',')
		}
		raw, err := json.Marshal(hubRecord(r, i))
		if err != nil {
			tb.Fatal(err)
		}
		out.Write(raw)
	}
	out.WriteString(`]}`)
	return out.Bytes()
}

func guid(r *rand.Rand) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}

// hubRecord is one record of such a message.
func hubRecord(r *rand.Rand, i int) object {
	category := "NonInteractiveUserSignInLogs"
	var properties object
	operation := "Sign-in activity"
	switch at := i % 100; {
	case at < 60:
		properties = wholeSignIn(r, false)
	case at < 82:
		category, properties = "SignInLogs", wholeSignIn(r, true)
	case at < 94:
		category, properties = "ServicePrincipalSignInLogs", wholeProgram(r)
	case at < 98:
		category, properties, operation = "AuditLogs", wholeAudit(r), "User registered security info"
	default:
		category, properties, operation = "UserRiskEvents", wholeRisk(r), "User Risk Detection"
	}
	return object{
		"time": "2026-03-04T08:17:55.1043377Z", "resourceId": "/tenants/" + tenantID + "/providers/Microsoft.aadiam", "operationName": operation,
		"operationVersion": "1.0", "category": category, "tenantId": tenantID, "resultType": "0", "resultSignature": "SUCCESS", "durationMs": 0,
		"callerIpAddress": "2001:db8:10::7", "correlationId": guid(r), "identity": "Example Person", "Level": 4, "location": "NL", "properties": properties,
	}
}

var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
	"Dalvik/2.1.0 (Linux; U; Android 15; Pixel 8 Build/AP3A.241105.007) PKeyAuth/1.0",
}

// wholeSignIn has every member of a user's sign-in.
func wholeSignIn(r *rand.Rand, interactive bool) object {
	user, n := guid(r), r.IntN(4)
	p := object{
		"id": guid(r), "createdDateTime": fmt.Sprintf("2026-03-04T08:%02d:31.%07d+00:00", r.IntN(60), r.IntN(1e7)),
		"userDisplayName": "Example Person", "userPrincipalName": user + "@example.com", "userId": user,
		"appId": fmt.Sprintf("c1a04e77-2b9d-4f63-8a10-6f5e3d2c1b%02d", r.IntN(40)), "appDisplayName": fmt.Sprintf("Example Portal %d", r.IntN(40)),
		"ipAddress": fmt.Sprintf("203.0.113.%d", r.IntN(256)), "clientAppUsed": "Mobile Apps and Desktop clients", "userAgent": agents[n],
		"status": object{"errorCode": 0, "additionalDetails": "MFA requirement satisfied by claim in the token"},
		"deviceDetail": object{
			"deviceId": guid(r), "displayName": fmt.Sprintf("DESKTOP-%06d", r.IntN(1e6)), "operatingSystem": "Windows10",
			"browser": "Edge 131.0.0", "isCompliant": true, "isManaged": true, "trustType": "Azure AD joined",
		},
		"location":  object{"city": "Utrecht", "state": "Utrecht", "countryOrRegion": "NL", "geoCoordinates": object{"latitude": 52.09, "longitude": 5.12}},
		"mfaDetail": object{}, "correlationId": guid(r), "originalRequestId": guid(r), "isInteractive": interactive, "tokenIssuerName": "",
		"tokenIssuerType": "AzureAD", "authenticationProcessingDetails": []object{
			{"key": "Legacy TLS (TLS 1.0, 1.1, 3DES)", "value": "False"},
			{"key": "Oauth Scope Info", "value": `["email","openid","profile","User.Read"]`},
			{"key": "Is CAE Token", "value": "True"},
			{"key": "Root Key Type", "value": "Unknown"},
		},
		"networkLocationDetails": []object{{"networkType": "namedNetwork", "networkNames": []string{"Office Utrecht"}}},
		"clientCredentialType":   "none", "processingTimeInMilliseconds": r.IntN(900), "riskDetail": "none", "riskLevelAggregated": "none",
		"riskLevelDuringSignIn": "none", "riskState": "none", "riskEventTypes": []string{}, "riskEventTypes_v2": []string{},
		"resourceDisplayName": "Example API", "resourceId": "e8f1b6d0-0a4c-4c8e-b7a5-1d2f3c4b5a60", "resourceTenantId": tenantID, "homeTenantId": tenantID,
		"tenantId": tenantID, "authenticationDetails": []object{}, "authenticationRequirementPolicies": []object{{"requirementProvider": "multiConditionalAccess", "detail": "Conditional Access"}},
		"sessionLifetimePolicies": []object{}, "authenticationRequirement": "multiFactorAuthentication", "alternateSignInName": "", "signInIdentifier": "",
		"servicePrincipalId": "", "userType": "Member", "flaggedForReview": false, "isTenantRestricted": false, "autonomousSystemNumber": 64500,
		"crossTenantAccessType": "none", "privateLinkDetails": object{}, "uniqueTokenIdentifier": "QmFzZTY0RXhhbXBsZQ" + guid(r)[:6], "incomingTokenType": "primaryRefreshToken",
		"authenticationProtocol": "none", "appServicePrincipalId": nil, "resourceServicePrincipalId": guid(r), "rngcStatus": 0, "signInTokenProtectionStatus": "none",
		"tokenProtectionStatusDetails": object{"signInSessionStatus": "bound", "signInSessionStatusCode": 0}, "originalTransferMethod": "none", "isThroughGlobalSecureAccess": false,
		"conditionalAccessAudiences": []object{{"applicationId": "00000003-0000-0000-c000-000000000000", "audienceReasons": "none"}}, "sessionId": guid(r),
		"appOwnerTenantId": "9188040d-6c67-4c5b-b112-36a304b66dad", "resourceOwnerTenantId": "9188040d-6c67-4c5b-b112-36a304b66dad", "conditionalAccessStatus": "success",
		"authenticationContextClassReferences": []object{}, "authenticationStrengths": []object{}, "appliedConditionalAccessPolicies": policies(1),
	}
	if interactive {
		p["authenticationDetails"] = steps("Password|true|Primary authentication", "Mobile app notification|true|MFA|MFA successfully completed")
		p["status"] = object{"errorCode": 0, "additionalDetails": "MFA completed in Azure AD"}
		p["appliedConditionalAccessPolicies"], p["incomingTokenType"] = policies(4), "none"
	}
	return p
}

// policies are n policies of which the first had a say.
func policies(n int) []object {
	var out []object
	for i := range n {
		result := "notApplied"
		if i == 0 {
			result = "success"
		}
		out = append(out, object{
			"id": fmt.Sprintf("f0e1d2c3-b4a5-4968-8778-695a4b3c2d%02d", i), "displayName": fmt.Sprintf("Require MFA %d", i), "enforcedGrantControls": []string{"Mfa"},
			"enforcedSessionControls": []string{}, "result": result, "conditionsSatisfied": 3, "conditionsNotSatisfied": 0,
			"includeRulesSatisfied": []object{{"conditionalAccessCondition": "application", "ruleSatisfied": "allApps"}}, "excludeRulesSatisfied": []object{},
		})
	}
	return out
}

func wholeProgram(r *rand.Rand) object {
	return object{
		"id": guid(r), "createdDateTime": "2026-03-04T08:15:31.2442191+00:00", "appId": guid(r), "ipAddress": "198.51.100.7", "status": object{"errorCode": 0},
		"location": object{"geoCoordinates": object{}}, "correlationId": guid(r), "isInteractive": false, "authenticationProcessingDetails": []object{},
		"clientCredentialType": "certificate", "processingTimeInMilliseconds": 40, "riskLevelDuringSignIn": "none", "riskState": "none",
		"resourceDisplayName": "Example API", "resourceId": "e8f1b6d0-0a4c-4c8e-b7a5-1d2f3c4b5a60", "resourceTenantId": tenantID, "homeTenantId": tenantID, "tenantId": tenantID,
		"servicePrincipalName": "Backup job", "servicePrincipalId": guid(r), "servicePrincipalCredentialKeyId": guid(r), "servicePrincipalCredentialThumbprint": strings.Repeat("AB", 20),
		"uniqueTokenIdentifier": "QmFzZTY0RXhhbXBsZQ", "incomingTokenType": "none", "authenticationProtocol": "none", "conditionalAccessStatus": "notApplied",
		"appliedConditionalAccessPolicies": []object{}, "autonomousSystemNumber": 64500, "crossTenantAccessType": "none", "userType": "Member",
		"federatedCredentialId": "", "managedServiceIdentity": object{"msiType": "none", "associatedResourceId": "", "federatedTokenId": "", "federatedTokenIssuer": ""},
		"appOwnerTenantId": tenantID, "resourceOwnerTenantId": tenantID, "resourceServicePrincipalId": guid(r), "authenticationContextClassReferences": []object{}, "sessionLifetimePolicies": []object{},
	}
}

func wholeAudit(r *rand.Rand) object {
	user := guid(r)
	return object{
		"id": "Authentication Methods_" + guid(r) + "_1ZG16_116958925", "category": "UserManagement", "correlationId": guid(r), "result": "success",
		"resultReason": "User registered Authenticator App with Notification and Code", "activityDisplayName": "User registered security info",
		"activityDateTime": "2026-03-04T08:15:31.2442191+00:00", "loggedByService": "Authentication Methods", "operationType": "Add", "userAgent": nil,
		"initiatedBy": object{"user": object{"id": user, "displayName": "Example Person", "userPrincipalName": user + "@example.com", "ipAddress": "203.0.113.9", "roles": []string{}}, "app": nil},
		"targetResources": []object{{
			"id": user, "displayName": "Example Person", "type": "User", "userPrincipalName": user + "@example.com", "groupType": nil,
			"modifiedProperties": []object{{"displayName": "StrongAuthenticationPhoneAppDetail", "oldValue": "[]", "newValue": `[{"DeviceName":"Phone","DeviceToken":"NO_DEVICE_TOKEN"}]`}},
		}},
		"additionalDetails": []object{{"key": "User-Agent", "value": "Mozilla/5.0"}},
	}
}

func wholeRisk(r *rand.Rand) object {
	user := guid(r)
	return object{
		"id": strings.ReplaceAll(guid(r)+guid(r), "-", ""), "requestId": guid(r), "correlationId": guid(r), "riskEventType": "unfamiliarFeatures", "riskType": "unfamiliarFeatures", "riskState": "atRisk",
		"riskLevel": "medium", "riskDetail": "none", "source": "IdentityProtection", "detectionTimingType": "realtime", "activity": "signin", "ipAddress": "203.0.113.80",
		"location":         object{"city": "Lyon", "state": "Rhone", "countryOrRegion": "FR", "geoCoordinates": object{"altitude": 0, "latitude": 45.76, "longitude": 4.83}},
		"activityDateTime": "2026-03-04T08:10:31.244Z", "detectedDateTime": "2026-03-04T08:10:33.244Z", "lastUpdatedDateTime": "2026-03-04T08:12:31.244Z",
		"userId": user, "userDisplayName": "Example Person", "userPrincipalName": user + "@example.com", "tokenIssuerType": "AzureAD", "homeTenantId": tenantID, "userType": "member",
		"additionalInfo": `[{"Key":"userAgent","Value":"Mozilla/5.0 (X11; Linux x86_64) Example/1.0"},{"Key":"riskReasons","Value":["UnfamiliarASN","UnfamiliarBrowser"]}]`,
	}
}

// BenchmarkEventHub decodes messages of 100 whole records of all categories. ns/record is what matters: with enrichment it
// must stay under 12,500 on one core.
func BenchmarkEventHub(b *testing.B) {
	const records = 100
	var values [][]byte
	for seed := range uint64(16) {
		values = append(values, hubBatch(b, records, seed))
	}
	d, n, bad := EventHub(), 0, 0
	b.ReportAllocs()
	b.SetBytes(int64(len(values[0])))
	for b.Loop() {
		d.Decode(values[n%len(values)], func(_ []byte, _ *events.Event, err error) {
			if err != nil {
				bad++
			}
		})
		n++
	}
	if bad > 0 {
		b.Errorf("%d records are refused", bad)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*records), "ns/record")
	b.ReportMetric(float64(len(values[0]))/records, "B/record")
}
