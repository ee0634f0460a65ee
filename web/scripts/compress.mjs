// Runs after `vite build`: puts a .br and a .gz beside each file that they make smaller, restores the placeholder that
// keeps dist/ in the repository, and holds the first load to its budget.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url).pathname;
const budget = 400; // KB of 1000 bytes, compressed: what the overview loads at first, at most

const sizes = {}; // of what goes over the wire, by path
for (const name of readdirSync(dist, { recursive: true })) {
  const path = join(dist, name);
  if (name === "manifest.json" || !statSync(path).isFile() || !/\.(html|js|css|svg|json|txt)$/.test(name)) continue;
  const plain = readFileSync(path);
  const br = brotliCompressSync(plain, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
  });
  const gz = gzipSync(plain, { level: 9 });
  if (br.length < plain.length) writeFileSync(`${path}.br`, br);
  if (gz.length < plain.length) writeFileSync(`${path}.gz`, gz);
  sizes[name] = Math.min(plain.length, gz.length); // the larger of the two codings
}
writeFileSync(join(dist, ".gitkeep"), "");

// The first load is the page, its icon, the entry with all it imports, and the same of the overview.
const manifest = JSON.parse(readFileSync(join(dist, "manifest.json"), "utf8"));
rmSync(join(dist, "manifest.json")); // it was for us
const first = new Set(["index.html", "icon.svg"]);
function add(key) {
  const chunk = manifest[key];
  if (first.has(chunk.file)) return;
  for (const file of [chunk.file, ...(chunk.css ?? []), ...(chunk.assets ?? [])]) first.add(file);
  for (const next of chunk.imports ?? []) add(next);
}
add("index.html");
add("src/views/overview.tsx");
const kilobytes = [...first].reduce((sum, name) => sum + sizes[name], 0) / 1000;
console.log(JSON.stringify({ "web.first_load_kb": Number(kilobytes.toFixed(1)) }));
if (kilobytes > budget) {
  console.error(`The first load is over its budget of ${budget} KB:`);
  for (const name of first) console.error(`  ${String(sizes[name]).padStart(8)} ${name}`);
  process.exit(1);
}
