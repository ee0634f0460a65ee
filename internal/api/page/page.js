// The page shows what /v1 answers. Names and texts in it come from outside: they enter the document as text only.

const byId = id => document.getElementById(id);
const number = new Intl.NumberFormat();
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

const state = {
  span: 86400, // seconds
  end: null, // of the time shown; null follows the clock
  findings: new Map(),
  requirements: new Map(),
  next: "",
  overview: null,
};

// whom is the user that the address asks for, as the links in alerts do: /?tenant=…&user=…
const address = new URLSearchParams(location.search);
const whom = address.get("user") && address.get("tenant") ? { tenant: address.get("tenant"), user: address.get("user") } : {};

class SignedOut extends Error {}

async function ask(path, parameters = {}) {
  const url = new URL(path, location.href);
  for (const [name, value] of Object.entries(parameters)) if (value) url.searchParams.set(name, value);
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (answer.status === 401) throw new SignedOut();
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail || `The server answered ${answer.status}.`);
  return body;
}

// Elements are made, never parsed.
function element(name, properties = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) e[key] = value;
  e.append(...children.filter(c => c !== null && c !== undefined && c !== ""));
  return e;
}

function shape(name, attributes = {}, text) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

function when(text) {
  const t = new Date(text);
  return element("time", { dateTime: text, title: text, textContent: isNaN(t) ? String(text) : clock.format(t) });
}

const spanAsked = () => {
  const end = state.end ?? new Date();
  return { from: new Date(end - state.span * 1000).toISOString(), to: end.toISOString() };
};

// Overview

function showOverview(o) {
  state.overview = o;
  byId("events").textContent = number.format(o.events);
  byId("findings").textContent = number.format(o.findings);
  byId("open").textContent = number.format(o.requirements.open);
  byId("satisfied").textContent = number.format(o.requirements.satisfied);
  byId("expired").textContent = number.format(o.requirements.expired);
  byId("span").textContent = `${dayAndTime.format(new Date(o.from))} to ${dayAndTime.format(new Date(o.to))}`;
  showCounts("severities", o.severities.map(c => [c.name, c.count]), true);
  showCounts("detections", o.detections.map(c => [c.name, c.count]));
  showCounts("countries", o.countries.map(c => [c.name, c.count]));
  showCounts("users", o.users.map(u => [u.name || u.user, u.findings]));
  const newest = new Date(o.newest_event ?? NaN);
  const outside = o.events === 0 && !isNaN(newest);
  byId("elsewhere").hidden = !outside;
  if (outside) byId("elsewhere").querySelector("span").textContent = `There are no events in this time. The newest one is of ${clock.format(newest)}.`;
  byId("chart-empty").hidden = o.events !== 0 || outside;
  drawChart();
}

function showCounts(id, rows, graded) {
  const table = byId(id);
  table.replaceChildren(...rows.map(([name, count]) =>
    element("tr", {}, element("td", { textContent: name, className: graded ? name : "" }), element("td", { textContent: number.format(count) }))));
  if (rows.length === 0) table.append(element("tr", {}, element("td", { textContent: "none", className: "empty" })));
}

// drawChart draws two charts over one axis of time: events with those that failed, and findings, each to its own scale.
function drawChart() {
  const o = state.overview, box = byId("chart");
  if (!o) return;
  const width = Math.max(280, box.clientWidth), left = 44, right = 8, upper = 110, gap = 26, lower = 48;
  const height = upper + gap + lower + 22;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${o.events} events and ${o.findings} active findings over time` });
  const step = (width - left - right) / Math.max(1, o.series.length);
  const most = field => Math.max(1, ...o.series.map(p => p[field]));
  const eventsMost = most("events"), findingsMost = most("findings");
  const base = upper + gap + lower;
  for (const [y, text] of [[12, number.format(eventsMost)], [upper + gap + 10, number.format(findingsMost)]])
    svg.append(shape("text", { x: left - 6, y, "text-anchor": "end" }, text));
  for (const y of [upper, base]) svg.append(shape("line", { x1: left, x2: width - right, y1: y, y2: y, class: "grid" }));
  const bar = (x, bottom, size, kind) => size > 0 && svg.append(shape("rect", {
    x: x + step * 0.1, width: Math.max(1, step * 0.8), y: bottom - Math.max(1, size), height: Math.max(1, size), class: kind,
  }));
  o.series.forEach((p, i) => {
    const x = left + i * step;
    bar(x, upper, p.events / eventsMost * (upper - 8), "events");
    bar(x, upper, p.failures / eventsMost * (upper - 8), "failures");
    bar(x, base, p.findings / findingsMost * (lower - 4), "found");
    const hit = shape("rect", { x, y: 0, width: step, height: base, class: "hit" });
    hit.append(shape("title", {}, `${clock.format(new Date(p.time))}: ${number.format(p.events)} events, ${number.format(p.failures)} failed, ${number.format(p.findings)} findings`));
    svg.append(hit);
  });
  const labels = Math.max(2, Math.min(8, Math.floor(width / 110))), form = state.span > 86400 ? dayAndTime : short;
  for (let i = 0; i < labels; i++) {
    const at = Math.floor(i * o.series.length / labels);
    if (o.series[at]) svg.append(shape("text", { x: left + at * step, y: base + 16 }, form.format(new Date(o.series[at].time))));
  }
  box.replaceChildren(svg);
}

// Findings

const placeOf = sight => [sight?.place?.city, sight?.place?.country].filter(Boolean).join(", ") || sight?.ip || "an unknown place";

function facts(f) {
  const e = f.evidence ?? {}, rows = [];
  const add = (name, value) => { if (value) rows.push(element("dt", { textContent: name }), element("dd", { textContent: value })); };
  add("User", `${f.user.name ? f.user.name + " · " : ""}${f.tenant}/${f.user.id}`);
  add("From", placeOf(e.sight) + (e.sight?.ip ? ` (${e.sight.ip})` : ""));
  if (e.travel) add("Travel", `${placeOf(e.travel.from)} to ${placeOf(e.travel.to)}: ${number.format(Math.round(e.travel.effective_km))} km beyond both radii in ${number.format(Math.round(e.travel.gap_s / 60))} min, ${number.format(Math.round(e.travel.speed_kmh))} km/h`);
  for (const n of e.novel ?? []) add("New", `${n.kind} ${n.value}, ${n.known} known before`);
  if (e.session) add("Session", `${e.session.id}: changed ${e.session.changed.join(", ")}`);
  for (const s of f.suppressions ?? []) add("Considered", `${s.rung}: ${s.fact} (${s.effect})`);
  if (f.decision) add("Decision", `${f.decision.action}${f.decision.observed ? " (observed only)" : ""}, policy ${f.decision.policy}: ${f.decision.reason}`);
  const list = element("dl");
  list.append(...rows);
  return list;
}

function findingItem(f) {
  const item = element("li", {},
    element("div", { className: "head" }, when(f.time),
      element("span", { className: `badge ${f.severity}`, textContent: f.severity }),
      element("span", { className: "who", textContent: f.user.name || f.user.id }),
      element("span", { className: "what", textContent: `${f.detection}${f.disposition === "active" ? "" : " · " + f.disposition}${f.decision ? " · " + f.decision.action : ""}` })),
    element("p", { textContent: f.summary || f.title }));
  const details = element("details", {}, element("summary", { textContent: "Why" }));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(facts(f), element("pre", { textContent: JSON.stringify(f, null, 2) }));
  });
  item.append(details);
  return item;
}

const items = new Map(); // by finding id, so that what is open stays open

function showFindings(arrived) {
  const list = [...state.findings.values()].sort((a, b) => a.time < b.time ? 1 : a.time > b.time ? -1 : a.id < b.id ? 1 : -1);
  const nodes = list.map(f => {
    if (!items.has(f.id)) items.set(f.id, findingItem(f));
    const item = items.get(f.id);
    item.classList.toggle("new", f.id === arrived);
    return item;
  });
  byId("latest").replaceChildren(...nodes);
  byId("latest-empty").hidden = list.length > 0;
  byId("more").hidden = !state.next;
}

async function loadFindings(older) {
  const page = await ask("v1/findings", { ...spanAsked(), ...whom, limit: 25, cursor: older ? state.next : "" });
  if (!older) { state.findings.clear(); items.clear(); }
  for (const f of page.findings) state.findings.set(f.id, f);
  state.next = page.next_cursor ?? "";
  showFindings();
}

// Requirements

function showRequirements() {
  const now = Date.now();
  const open = [...state.requirements.values()].filter(r => r.status === "open" && new Date(r.expires) > now)
    .sort((a, b) => a.not_before < b.not_before ? 1 : -1);
  byId("requirements").replaceChildren(...open.slice(0, 50).map(r => element("li", {},
    element("div", { className: "head" }, when(r.not_before),
      element("span", { className: `badge ${r.severity}`, textContent: r.severity }),
      element("span", { className: "who", textContent: `${r.tenant}/${r.user}` }),
      element("span", { className: "what", textContent: `${r.action}${r.session ? " · one session" : " · all sessions"} · until ${clock.format(new Date(r.expires))}` })),
    element("p", { textContent: r.reason }))));
  byId("requirements-empty").hidden = open.length > 0;
}

async function loadRequirements() {
  const page = await ask("v1/revocations", { ...spanAsked(), ...whom, status: "open", limit: 50 });
  state.requirements = new Map(page.revocations.map(r => [r.id, r]));
  showRequirements();
}

// One user

const isWhom = (tenant, user) => !whom.user || tenant === whom.tenant && user === whom.user;

function timelineItem(e) {
  const d = e.event ?? e.finding ?? e.requirement ?? e.receipt ?? {};
  const text = {
    event: () => [d.kind, d.outcome, d.app?.name || d.app?.id, [d.place?.city, d.place?.country].filter(Boolean).join(", "), d.ip].filter(Boolean).join(" · "),
    finding: () => `${d.detection}: ${d.summary || d.title}`,
    requirement: () => `${d.action}, ${d.status}: ${d.reason ?? ""}`,
    receipt: () => `${d.app}: ${d.status}`,
  }[e.kind];
  const details = element("details", {}, element("summary", { textContent: "All of it" }));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(element("pre", { textContent: JSON.stringify(d, null, 2) }));
  });
  return element("li", {},
    element("div", { className: "head" }, when(e.time),
      d.severity ? element("span", { className: `badge ${d.severity}`, textContent: d.severity }) : null,
      element("span", { className: "what", textContent: e.kind })),
    element("p", { textContent: text ? text() : e.kind }), details);
}

async function loadTimeline() {
  const page = await ask(`v1/users/${encodeURIComponent(whom.tenant)}/${encodeURIComponent(whom.user)}/timeline`, { ...spanAsked(), limit: 100 });
  byId("timeline").replaceChildren(...page.entries.map(timelineItem));
  byId("timeline-empty").hidden = page.entries.length > 0;
}

// What is shown, and when

function tell(problem) {
  byId("notice").hidden = !problem;
  byId("notice").textContent = problem ?? "";
}

let again = 0;
async function load(all) {
  clearTimeout(again);
  try {
    const parts = [ask("v1/overview", spanAsked()).then(showOverview)];
    if (all) parts.push(loadFindings(false), loadRequirements());
    if (all && whom.user) parts.push(loadTimeline());
    await Promise.all(parts);
    byId("signin").hidden = true;
    byId("main").hidden = false;
    drawChart();
    tell(null);
    follow();
  } catch (e) {
    if (e instanceof SignedOut) return signedOut();
    byId("main").hidden = false;
    tell(`${e.message} Trying again by itself.`);
    follow();
    again = setTimeout(() => load(true), 5000);
    return;
  }
  again = setTimeout(() => document.hidden || load(false), 15000);
}

function signedOut() {
  feed?.close();
  feed = null;
  byId("main").hidden = true;
  byId("signin").hidden = false;
  live(false, "signed out");
}

function live(on, text) {
  byId("live").classList.toggle("on", on);
  byId("live").textContent = text;
}

let soon = 0;
const refreshSoon = () => { soon ||= setTimeout(() => { soon = 0; load(false); }, 3000); };

let feed = null;
function follow() {
  if (feed) return;
  feed = new EventSource("v1/live");
  feed.onopen = () => live(true, "live");
  feed.onerror = () => {
    live(false, "reconnecting");
    // The browser comes back by itself, but not after an answer that says no.
    if (feed.readyState === EventSource.CLOSED) { feed = null; clearTimeout(again); again = setTimeout(() => load(true), 3000); }
  };
  feed.addEventListener("reset", () => load(true));
  feed.addEventListener("finding", e => {
    const f = JSON.parse(e.data);
    const shown = spanAsked();
    if (!isWhom(f.tenant, f.user.id)) return refreshSoon();
    if (f.time < shown.from || (state.end && f.time >= shown.to)) return refreshSoon();
    state.findings.set(f.id, f);
    while (state.findings.size > 200) { const oldest = [...state.findings.values()].reduce((a, b) => a.time < b.time ? a : b); state.findings.delete(oldest.id); items.delete(oldest.id); }
    showFindings(f.id);
    refreshSoon();
  });
  feed.addEventListener("requirement", e => {
    const r = JSON.parse(e.data);
    if (!isWhom(r.tenant, r.user)) return refreshSoon();
    state.requirements.set(r.id, r);
    while (state.requirements.size > 500) state.requirements.delete(state.requirements.keys().next().value);
    showRequirements();
    refreshSoon();
  });
}

if (whom.user) {
  byId("whom").hidden = byId("timeline-section").hidden = false;
  byId("whom").querySelector("b").textContent = `${whom.tenant}/${whom.user}`;
}
byId("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
byId("range").addEventListener("change", e => { state.span = Number(e.target.value); state.end = null; load(true); });
byId("more").addEventListener("click", () => loadFindings(true).catch(e => tell(e.message)));
byId("elsewhere").querySelector("button").addEventListener("click", () => {
  state.end = new Date(new Date(state.overview.newest_event).getTime() + 1000);
  load(true);
});
document.addEventListener("visibilitychange", () => document.hidden || load(true));
new ResizeObserver(drawChart).observe(byId("chart"));
setInterval(showRequirements, 10000);
load(true);
