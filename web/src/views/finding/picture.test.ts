import { expect, test } from "vitest";
import { greatCircleKm } from "../../map/geometry";
import { compare } from "./compare";
import { byApp, lifeOf } from "./life";
import { between, sceneOf } from "./places";

const at = (lat: number, lon: number, radius = 20) => ({
  place: { lat, lon, radius_km: radius, city: `${lat}`, country: "NO" },
});
const travel = (from: ReturnType<typeof at>, to: ReturnType<typeof at>) => ({
  from,
  to,
  distance_km: greatCircleKm(from.place, to.place),
  radius_from_km: 50,
  radius_to_km: 100,
  effective_km: 0,
  gap_s: 60,
  speed_kmh: 1000,
});

test("a journey is drawn with the radii that were counted, other ways fainter", () => {
  const to = at(60, 10);
  const scene = sceneOf({ evidence: { sight: to, travel: travel(at(40, -74), to), other_travels: [travel(at(50, 0), to)] } });
  expect(scene.ways.map(w => w.main)).toEqual([true, false]);
  expect(scene.spots.map(s => [s.role, s.radius])).toEqual([
    ["from", 50],
    ["to", 100],
    ["other", 50],
  ]);
});

test("without a journey it is where the session began and is, or where the event was", () => {
  const session = { id: "s", changed: [], started: at(40, -74) };
  expect(sceneOf({ evidence: { sight: at(60, 10), session } }).ways).toHaveLength(1);
  expect(sceneOf({ evidence: { sight: at(60, 10), session: { ...session, started: at(60, 10) } } }).ways).toHaveLength(0);
  expect(sceneOf({ evidence: { sight: at(60, 10) } }).spots).toHaveLength(1);
  expect(sceneOf({ evidence: { sight: {} } })).toEqual({ spots: [], ways: [] });
  expect(sceneOf({ evidence: { sight: at(0, 0) } }).spots).toEqual([]);
});

test("a place that contradicts ours is shown too", () => {
  const sight = { ...at(60, 10), provider_place: { lat: 1, lon: 2, country: "NG" } };
  expect(sceneOf({ evidence: { sight, geo_conflict: true } }).spots.map(s => s.role)).toEqual(["to", "provider"]);
  expect(sceneOf({ evidence: { sight } }).spots.map(s => s.role)).toEqual(["to"]);
});

test("what is left between two circles is what nobody can explain away", () => {
  const scene = sceneOf({ evidence: { sight: at(60, 10), travel: travel(at(50, 10), at(60, 10)) } });
  const way = scene.ways[0];
  expect(way && between(way)?.map(v => Math.round(v * 1000) / 1000)).toEqual([0.045, 0.91]);
  expect(way && between({ ...way, km: 120 })).toBeUndefined();
});

test("two observations are compared by what both know", () => {
  const rows = compare(
    { ip: "192.0.2.1", network: { asn: 64496, org: "Named" }, device: { os: "Windows", managed: true } },
    { ip: "192.0.2.2", network: { asn: 64496 }, device: { os: "Linux" }, app: { name: "Mail" } },
  );
  const differing = rows.filter(r => r.differs).map(r => r.name);
  expect(differing).toEqual(["Address", "System"]);
  expect(rows.find(r => r.name === "Managed")).toMatchObject({ before: "yes", after: "", differs: false });
  expect(rows.some(r => r.name === "Browser")).toBe(false);
});

const requirement = {
  id: "r",
  tenant: "t",
  user: "u",
  action: "step_up",
  event_id: "e",
  jti: "j",
  not_before: "2026-11-23T10:00:00Z",
  expires: "2026-11-23T11:00:00Z",
  policy: "p",
  policy_version: "1",
  reason: "",
  severity: "high",
  status: "satisfied" as const,
};
const receipt = (app: string, status: string, time: string, ms?: number) => ({
  id: `${app}${status}${time}`,
  app,
  status,
  time,
  ms,
  decided: "2026-11-23T10:00:00.500Z",
  requirement: "r",
  tenant: "t",
  user: "u",
});

test("a requirement's life goes from its opening to its end, each app by its first word", () => {
  const receipts = [
    receipt("bank", "satisfied", "2026-11-23T10:00:30Z", 29_500),
    receipt("vault", "delivered", "2026-11-23T10:00:00.700Z", 200),
    receipt("bank", "delivered", "2026-11-23T10:00:00.600Z", 100),
    receipt("bank", "delivered", "2026-11-23T10:00:09Z", 8500),
    receipt("bank", "challenged", "2026-11-23T10:00:02Z"),
  ];
  const steps = lifeOf(requirement, receipts, undefined, Date.parse("2026-11-23T10:30:00Z"));
  expect(steps.map(s => [s.step, s.ms])).toEqual([
    ["opened", 0],
    ["delivered", 100],
    ["challenged", 1500],
    ["satisfied", 29_500],
  ]);
  expect(byApp(steps).map(row => [row.app, row.at.delivered?.ms, row.at.satisfied?.ms])).toEqual([
    ["bank", 100, 29_500],
    ["vault", 200, undefined],
  ]);
});

test("an open requirement runs out in the future, an expired one has", () => {
  const now = Date.parse("2026-11-23T10:30:00Z");
  expect(lifeOf({ ...requirement, status: "open" }, [], undefined, now).at(-1)).toMatchObject({ step: "expires", ahead: true });
  expect(lifeOf({ ...requirement, status: "expired" }, [], undefined, now).at(-1)).toMatchObject({
    step: "expired",
    ahead: false,
  });
});
