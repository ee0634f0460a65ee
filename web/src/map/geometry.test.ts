import { expect, test } from "vitest";
import { angleOf, fitted, greatCircleKm, held, meridianFor, whole, zoomed } from "./geometry";

const berlin = { lat: 52.52, lon: 13.4 };
const sydney = { lat: -33.87, lon: 151.2 };
const tokyo = { lat: 35.68, lon: 139.69 };
const seattle = { lat: 47.6, lon: -122.33 };

test("distances are over the ground", () => {
  expect(greatCircleKm(berlin, sydney)).toBeGreaterThan(16_050);
  expect(greatCircleKm(berlin, sydney)).toBeLessThan(16_130);
  expect(angleOf(6371.0088 * Math.PI)).toBe(90);
  expect(angleOf(111.195)).toBeCloseTo(1, 2);
});

test("a trip over the Pacific turns the map, one over Europe does not", () => {
  expect(meridianFor([berlin, { lat: 48.85, lon: 2.35 }])).toBe(0);
  expect(Math.abs(meridianFor([tokyo, seattle]))).toBeGreaterThan(150);
  expect(meridianFor([])).toBe(0);
});

test("a view stays on the map", () => {
  expect(held({ k: 0.1, x: 50, y: -900 }, 800, 400)).toEqual({ k: 1, x: 0, y: 0 });
  expect(held({ k: 2, x: -9000, y: 10 }, 800, 400)).toEqual({ k: 2, x: -800, y: 0 });
});

test("zooming holds the point below the pointer", () => {
  const view = zoomed(whole, 4, [400, 200], 800, 400);
  expect(view.k).toBe(4);
  expect((400 - view.x) / view.k).toBeCloseTo(400);
  expect(zoomed(view, 1000, [0, 0], 800, 400).k).toBe(24);
});

test("a fitted view shows all points", () => {
  const points: [number, number][] = [
    [100, 100],
    [300, 150],
  ];
  const view = fitted(points, 800, 400);
  for (const [x, y] of points) {
    expect(x * view.k + view.x).toBeGreaterThan(0);
    expect(x * view.k + view.x).toBeLessThan(800);
    expect(y * view.k + view.y).toBeGreaterThan(0);
    expect(y * view.k + view.y).toBeLessThan(400);
  }
  expect(view.k).toBeGreaterThan(2);
  expect(fitted([], 800, 400)).toEqual(whole);
});
