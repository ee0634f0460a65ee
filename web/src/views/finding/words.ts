import type { Schemas } from "../../api/client";
import { count, distance, duration } from "../../format/numbers";
import { country, place } from "../../format/places";

// What records say, in words. Everything here is pure; texts of others are shown by <Text>, never put into markup.

export type Finding = Schemas["Finding"];
export type Sight = Schemas["Sight"];
export type Travel = Schemas["Travel"];
export type Requirement = Schemas["Requirement"];

/** located tells whether a place has coordinates; (0, 0) is never one. */
export function located(place: Schemas["Place"] | undefined): place is Schemas["Place"] & { lat: number; lon: number } {
  return !!place && ((place.lat ?? 0) !== 0 || (place.lon ?? 0) !== 0);
}

/** placeName is "Oslo, Norway", with as much as is known; a place without a name is "". */
export function placeName(of: Schemas["Place"] | undefined): string {
  return place(of && { city: of.city || of.region, country: of.country }, "");
}

/** deviceName is "Windows, Edge 120, desktop". */
export function deviceName(device: Schemas["Device"] | undefined): string {
  if (!device) return "";
  const browser = device.browser && device.browser_major ? `${device.browser} ${device.browser_major}` : device.browser;
  return [device.os, browser, device.type].filter(Boolean).join(", ");
}

/** networkName is "AS64496 Example". */
export function networkName(network: Schemas["Network"] | undefined): string {
  if (!network) return "";
  return [network.asn ? `AS${network.asn}` : "", network.org ?? ""].filter(Boolean).join(" ");
}

/** refName is the name of an app or resource, or its id where it has none. */
export function refName(ref: Schemas["Ref"] | undefined): string {
  return ref?.name || ref?.id || "";
}

/** held says a truth value of three: yes, no, or that the source did not say. */
export function held(value: boolean | undefined, yes: string, no: string): string {
  return value === undefined || value === null ? "" : value ? yes : no;
}

/** speed writes kilometres an hour. */
export const speed = (kmh: number) => `${count(Math.round(kmh))} km/h`;

/** span writes seconds. */
export const span = (seconds: number) => duration(seconds * 1000);

/** The limits that a journey is measured by, by the names of their parameters. */
const speedLimits: Record<string, string> = {
  unlikely_kmh: "atypical",
  medium_kmh: "impossible, medium",
  high_kmh: "impossible, high",
};

export interface Limit {
  name: string;
  value: number;
  word: string;
  passed: boolean;
}

/** speedLimitsOf are the speeds in force that a journey was compared with, slowest first. */
export function speedLimitsOf(finding: Pick<Finding, "parameters">, kmh: number): Limit[] {
  return (finding.parameters ?? [])
    .filter(p => Object.hasOwn(speedLimits, p.name))
    .map(p => ({ name: p.name, value: p.value, word: speedLimits[p.name] as string, passed: kmh >= p.value }))
    .sort((a, b) => a.value - b.value);
}

/** What else moves at a speed, so that it says something; kilometres an hour. */
const movers: [kmh: number, word: string][] = [
  [8, "a walk"],
  [130, "a car"],
  [330, "a fast train"],
  [920, "an airliner"],
  [2200, "Concorde"],
  [28_000, "an orbiting satellite"],
];

/** comparison says a speed by something that people know. */
export function comparison(kmh: number): string {
  if (!(kmh > 0)) return "";
  const last = movers[movers.length - 1] as [number, string];
  const nearest = movers.find(([limit]) => kmh <= limit) ?? last;
  if (kmh <= nearest[0]) return `no faster than ${nearest[1]}`;
  return `${count(kmh / nearest[0])} times as fast as ${nearest[1]}`;
}

/** overAirliner says how many times an airliner's speed it is, from twice on. */
export function overAirliner(kmh: number): string {
  const times = kmh / 920;
  return times >= 1.95
    ? `${times < 10 ? times.toFixed(1).replace(/\.0$/, "") : count(times)} times an airliner's speed`
    : comparison(kmh);
}

/** journeySentence is a journey in one sentence. */
export function journeySentence(travel: Travel): string {
  const from = placeName(travel.from.place) || "an unknown place";
  const to = placeName(travel.to.place) || "an unknown place";
  const apart = travel.gap_s < 60 ? "within a minute" : `within ${span(travel.gap_s)}`;
  return `From ${from} to ${to}, ${distance(travel.effective_km)} apart at the least, ${apart}: ${speed(travel.speed_kmh)}.`;
}

/** Names of the familiarity score's features, and what they compare. */
const features: Record<string, [name: string, about: string]> = {
  network: ["Network", "the address, its network (AS) and its country"],
  agent: ["User agent", "the user agent, its browser, system and kind of device"],
  device: ["Device", "the device's own id"],
  frequency: ["How often", "how often this user signs in, against others"],
};

export const featureName = (feature: string) => features[feature]?.[0] ?? feature.replaceAll("_", " ");
export const featureAbout = (feature: string) => features[feature]?.[1] ?? "";

/** times writes a factor as people say it: 1.4, 12, 3,000. */
function times(factor: number): string {
  if (factor >= 1e6) return "over a million";
  if (factor >= 100) return count(Number(factor.toPrecision(2)));
  if (factor >= 10) return factor.toFixed(0);
  return factor.toFixed(1).replace(/\.0$/, "");
}

/** likelihood says what a natural logarithm of a likelihood ratio means. */
export function likelihood(logRatio: number): string {
  const factor = Math.exp(Math.abs(logRatio));
  if (factor < 1.05) return "says nothing either way";
  return logRatio > 0
    ? `${times(factor)} times likelier of somebody else than of this user`
    : `${times(factor)} times likelier of this user than of somebody else`;
}

/** odds says what decibans mean: 10 are ten to one. */
export function odds(decibans: number): string {
  const factor = 10 ** (Math.abs(decibans) / 10);
  if (factor < 1.05) return "even";
  return decibans > 0 ? `${times(factor)} to 1` : `1 to ${times(factor)}`;
}

const classes: Record<string, string> = {
  daily: "who sign in daily",
  several_a_week: "who sign in several times a week",
  weekly: "who sign in weekly",
  monthly: "who sign in monthly",
  rarer: "who sign in more rarely than monthly",
};

/** className says a login-frequency class: "who sign in daily". */
export const className = (name: string | undefined) => (name ? (classes[name] ?? name.replaceAll("_", " ")) : "");

const rungs: Record<string, string> = {
  learning: "Still learning the user",
  operator_allow: "Vouched for by the operator",
  org_egress: "The organisation's own way out",
  vpn_or_relay: "A VPN or relay hides the place",
  same_network_and_device: "Known network and device",
  phishing_resistant_on_managed_device: "Strong proof, managed device",
  geo_conflict: "Places contradict each other",
  known_transition: "A way the user has proved",
  common_in_organisation: "Common in the organisation",
  list_out_of_date: "The list is out of date",
  answer_to_a_challenge: "An answer to a challenge",
  changed_by_another: "Changed by somebody else",
  corroborates: "Backed by our own findings",
};

export const rungName = (rung: string) => rungs[rung] ?? sentenceCase(rung);

const effects: Record<string, string> = {
  none: "counts for nothing here",
  lower: "one severity lower",
  record: "recorded only",
};

export const effectName = (effect: string) => effects[effect] ?? effect.replaceAll("_", " ");

/** sentenceCase writes a name of the wire for people: "geo_conflict" is "Geo conflict". */
export function sentenceCase(name: string): string {
  const words = name.replaceAll(/[_.]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const actions: Record<string, string> = {
  observe: "only watch",
  notify: "tell people",
  step_up: "ask for a second proof",
  revoke_session: "end the session",
  revoke_all: "end every session of the user",
};

export const actionName = (action: string) => actions[action] ?? action.replaceAll("_", " ");

/** decisionState says what kept a decision from being carried out, or that nothing did. */
export function decisionState(d: Schemas["Decision"]): string {
  if (d.observed) return "The policy only watches: this is what it would have done.";
  if (d.held) return "Held back by the breaker until a person has looked.";
  if (d.cooling) return "Not asked again: the user met the same demand a short while ago.";
  if (d.covered) return "Asked for already: the requirement below was open before this.";
  if (d.requirement) return "Carried out: the requirement below was opened by this.";
  return "";
}

/** parameterName is the name of a parameter for people, without its unit: "min_km" is "Min". */
export const parameterName = (name: string) => sentenceCase(name.replace(/_(km|kmh)$/, ""));

/** parameterText writes a parameter as the configuration does: hours that are whole days as days. */
export function parameterText(p: Schemas["Parameter"]): string {
  if (p.unit === "h") return span(p.value * 3600);
  const value = Number.isInteger(p.value) ? count(p.value) : String(Number(p.value.toPrecision(6)));
  return [value, p.unit].filter(Boolean).join(" ");
}

const changedWords: Record<string, string> = {
  asn: "network",
  os: "system",
  device: "device",
  browser: "browser",
  place: "place",
  network_class: "kind of network",
};

export const changedName = (name: string) => changedWords[name] ?? name.replaceAll("_", " ");

const novelKinds: Record<string, string> = {
  country: "Country",
  country_of_organisation: "Country, for the organisation",
  asn: "Network (AS)",
  device: "Device",
  os_and_browser: "System and browser",
  place: "Place",
  app: "App",
  grant: "Way of signing in",
  client_and_resource: "App and what it asks for",
};

export const novelName = (kind: string) => novelKinds[kind] ?? sentenceCase(kind);

/** novelValue is a new thing by the name that people know it by. */
export function novelValue(term: Schemas["NovelTerm"]): string {
  if (term.kind.startsWith("country")) return country(term.value);
  if (term.kind === "asn") return `AS${term.value}`;
  return term.value;
}

const causes: Record<string, string> = {
  bad_password: "wrong password",
  unknown_user: "no such user",
  locked: "account locked",
  account_disabled: "account disabled",
  expired: "password or account has run out",
  mfa_denied: "second factor denied",
  mfa_timeout: "second factor not answered",
  bad_code: "wrong one-time code",
  policy_block: "blocked by the provider's policies",
  other: "something else",
};

export const causeName = (cause: string | undefined) => (cause ? (causes[cause] ?? cause.replaceAll("_", " ")) : "failed");

const kinds: Record<string, string> = {
  sign_in: "Sign-in",
  session_use: "Session used",
  sign_out: "Sign-out",
  account_change: "Account changed",
  risk: "Risk reported by the provider",
  verdict: "Verdict of the network stage",
  context: "Context of the organisation",
  erasure: "Erased",
};

export const kindName = (kind: string) => kinds[kind] ?? sentenceCase(kind);

/** factName and factValue write a named fact for people. Times are left to the view, which knows the zone. */
export const factName = (name: string) => sentenceCase(name);

/** isTime tells a value that is a time of RFC 3339. */
export const isTime = (value: string) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(value);

const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/** hourOfWeek names the hour of a week that starts on Monday, 00:00 UTC: 0 is its first. */
export function hourOfWeek(hour: number): string {
  const day = days[Math.floor(hour / 24)];
  return day === undefined ? String(hour) : `${day}, ${String(hour % 24).padStart(2, "0")}:00 UTC`;
}

/** riskRest is what the named parts of a risk do not account for, in decibans: lesser parts, less what proofs took off. */
export function riskRest(risk: Schemas["UserRisk"]): number {
  const rest = (risk.parts ?? []).reduce((left, part) => left - part.decibans, risk.after);
  return Math.round(rest * 10) / 10;
}
