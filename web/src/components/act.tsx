import { type ReactNode, useEffect, useRef, useState } from "react";
import { ErrorNote } from "./states";

/**
 * Act is a button that does something. With `sure` it asks once more, in place. It says what went wrong beside itself, and
 * what came of it for a while. The focus stays with it: on the question, and afterwards on the button.
 */
export function Act({
  children,
  label,
  run,
  sure,
  danger,
}: {
  children: ReactNode;
  /** Names the button for screen readers where its words alone do not: "Revoke the token siem". */
  label?: string;
  /** Does it; what it returns is shown. */
  run: () => Promise<string | undefined>;
  /** The words of the second button. */
  sure?: string;
  danger?: boolean;
}) {
  const [asked, setAsked] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const [result, setResult] = useState("");
  const place = useRef<HTMLSpanElement>(null);
  const was = useRef(asked);
  useEffect(() => {
    if (was.current === asked) return;
    was.current = asked;
    // Unless the focus has gone elsewhere by itself: the button that had it is no more.
    if (document.activeElement === document.body) place.current?.querySelector("button")?.focus();
  }, [asked]);
  async function act() {
    if (busy) return;
    setBusy(true);
    setError(undefined);
    setResult("");
    try {
      setResult((await run()) ?? "");
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
      setAsked(false);
    }
  }
  // A busy button is not disabled, which would take the focus from it.
  return (
    <span className="act" ref={place}>
      {asked ? (
        <span key="sure" className="act-sure">
          <button type="button" className={danger ? "danger" : undefined} aria-disabled={busy} onClick={() => void act()}>
            {sure}
          </button>
          <button type="button" className="quiet" aria-disabled={busy} onClick={() => !busy && setAsked(false)}>
            No
          </button>
        </span>
      ) : (
        <button
          key="first"
          type="button"
          className="quiet"
          aria-label={label}
          aria-disabled={busy}
          onClick={() => (sure ? setAsked(true) : void act())}
        >
          {busy ? "…" : children}
        </button>
      )}
      {error !== undefined && <ErrorNote error={error} />}
      <span role="status" className="soft">
        {result}
      </span>
    </span>
  );
}
