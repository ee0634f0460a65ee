import type { FeatureCollection, MultiLineString } from "geojson";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import atlas from "world-atlas/countries-110m.json";

const topology = atlas as unknown as Topology<{ countries: GeometryCollection<{ name: string }>; land: GeometryCollection }>;

/** land is Natural Earth's land at 1:110 million, borders the lines between its countries. Both are bundled. */
export const land = feature(topology, topology.objects.land) as FeatureCollection;
export const borders: MultiLineString = mesh(topology, topology.objects.countries, (a, b) => a !== b);
