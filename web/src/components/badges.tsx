import type { ReactNode } from "react";

export const severities = ["critical", "high", "medium", "low", "info"] as const;
export type SeverityName = (typeof severities)[number];

/** rank orders severities: critical is 5, info 1, anything else 0. */
export function rank(severity: string): number {
  const at = severities.indexOf(severity as SeverityName);
  return at < 0 ? 0 : severities.length - at;
}

/** Severity is a badge with the word and as many filled bars as its rank: never colour alone. */
export function Severity({ value }: { value: string }) {
  const n = rank(value);
  return (
    <span className={`badge severity severity-${n > 0 ? value : "info"}`}>
      <svg viewBox="0 0 14 10" width="14" height="10" aria-hidden="true">
        {[1, 2, 3, 4, 5].map(i => (
          <rect key={i} x={(i - 1) * 3} y={8 - i * 1.6} width="2" height={2 + i * 1.6} className={i <= n ? "on" : "off"} />
        ))}
      </svg>
      {value}
    </span>
  );
}

type Tone = "good" | "bad" | "warn" | "busy" | "quiet";

const tones: Record<string, [Tone, string]> = {
  // what became of a requirement
  open: ["warn", "○"],
  satisfied: ["good", "✓"],
  expired: ["bad", "✕"],
  // dispositions of a finding
  active: ["bad", "●"],
  learning: ["quiet", "◌"],
  suppressed: ["quiet", "–"],
  observed: ["quiet", "◎"],
  // modes of policies
  enforce: ["good", "✓"],
  observe: ["quiet", "◎"],
  // triage
  acknowledged: ["busy", "◐"],
  true_positive: ["bad", "✓"],
  false_positive: ["good", "✕"],
  // jobs, streams, sources
  ok: ["good", "✓"],
  done: ["good", "✓"],
  enabled: ["good", "✓"],
  running: ["busy", "◐"],
  queued: ["quiet", "○"],
  paused: ["warn", "‖"],
  disabled: ["quiet", "–"],
  failed: ["bad", "✕"],
  cancelled: ["quiet", "–"],
  away: ["bad", "✕"],
  late: ["warn", "!"],
};

/** Status is a badge with a sign and the word, in the tone that fits the word. Say another tone where none is known. */
export function Status({ value, tone, children }: { value: string; tone?: Tone; children?: ReactNode }) {
  const [own, sign] = tones[value] ?? ["quiet", "·"];
  return (
    <span className={`badge status tone-${tone ?? own}`}>
      <span aria-hidden="true">{sign}</span> {children ?? value.replaceAll("_", " ")}
    </span>
  );
}

/** Tag is a small plain label. */
export function Tag({ children, title }: { children: ReactNode; title?: string }) {
  return (
    <span className="badge tag" title={title}>
      {children}
    </span>
  );
}
