import type { Schemas } from "../../api/client";
import { Status, To } from "../../components";
import { useMay } from "../../shell/me";

type Source = Schemas["SourceHealth"];

/** Health is what to think of a source. */
export type Health = "ok" | "late" | "quiet" | "refused";

const hour = 3600_000;

/** healthOf judges a source: nothing for an hour is quiet, a twentieth of events over 15 minutes late is late. */
export function healthOf(s: Pick<Source, "events_1h" | "delay_p95_ms" | "accepted" | "newest">): Health {
  if (!s.accepted && !s.newest) return "refused";
  if (s.events_1h === 0) return "quiet";
  return (s.delay_p95_ms ?? 0) > hour / 4 ? "late" : "ok";
}

const words: Record<Health, [value: string, shown: string, tone: "good" | "warn" | "quiet" | "bad"]> = {
  ok: ["ok", "in time", "good"],
  late: ["late", "late", "warn"],
  quiet: ["observed", "quiet", "quiet"],
  refused: ["failed", "all refused", "bad"],
};

/** SourceState says how a source is. */
export function SourceState({ of: source }: { of: Source }) {
  const [value, shown, tone] = words[healthOf(source)];
  return (
    <Status value={value} tone={tone}>
      {shown}
    </Status>
  );
}

/** Refused is how much of a source was refused in a day; it leads there whoever may look. */
export function Refused({ of: source, format }: { of: Source; format: (n: number) => string }) {
  const mayLook = useMay("operate");
  const shown = format(source.dead_letters_24h);
  if (source.dead_letters_24h === 0 || !mayLook) return shown;
  return (
    <To path="/deadletters" query={{ source: source.source }}>
      {shown}
    </To>
  );
}
