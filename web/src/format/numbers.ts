const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const share = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });

/** count writes a number in full. */
export const count = (n: number) => whole.format(n);

/** compact writes a large number short: 12.4K. */
export const compact = (n: number) => short.format(n);

/** percent writes a share of 1. */
export const percent = (n: number) => share.format(n);

/** bytes writes a size in units of 1000. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = n;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** duration writes milliseconds with the two largest units: "340 ms", "2.4 s", "3 min 20 s", "2 d 4 h"; "–" for none. */
export function duration(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1).replace(/\.0$/, "")} s`;
  const seconds = Math.round(ms / 1000);
  const steps: [number, string][] = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = steps.findIndex(([size]) => seconds >= size);
  const [size, unit] = steps[first] ?? [1, "s"];
  const next = steps[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${next && rest ? ` ${rest} ${next[1]}` : ""}`;
}

/** distance writes kilometres. */
export const distance = (km: number) => `${km < 10 ? km.toFixed(1) : whole.format(km)} km`;
