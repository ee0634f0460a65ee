import { useEffect, useState } from "react";
import { ago, type TimeStyle, useZone, when, whenElse } from "../format/time";

/** Time shows a time by the viewer's clock, and UTC while it is pointed at or what it is in has the focus. */
export function Time({ value, style = "short" }: { value: string | undefined | null; style?: TimeStyle | "ago" }) {
  const zone = useZone();
  if (!value) return <span className="soft">–</span>;
  return (
    <time dateTime={value} className="time" data-utc={whenElse(value, zone)}>
      {style === "ago" ? <Ago value={value} /> : when(value, style, zone)}
    </time>
  );
}

function Ago({ value }: { value: string }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const old = Math.abs(Date.now() - Date.parse(value)) > 3600_000;
    const timer = setInterval(() => setNow(Date.now()), old ? 60_000 : 5_000);
    return () => clearInterval(timer);
  }, [value]);
  return ago(value, now);
}
