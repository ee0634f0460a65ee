import { type ReactNode, useState } from "react";
import { ErrorNote } from "./states";

/**
 * Act is a button that does something. With `sure` it asks once more, in place. It says what went wrong beside itself, and
 * what came of it for a while.
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
  async function act() {
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
  return (
    <span className="act">
      {asked ? (
        <>
          <button type="button" className={danger ? "danger" : undefined} disabled={busy} onClick={() => void act()}>
            {sure}
          </button>
          <button type="button" className="quiet" disabled={busy} onClick={() => setAsked(false)}>
            No
          </button>
        </>
      ) : (
        <button
          type="button"
          className="quiet"
          aria-label={label}
          disabled={busy}
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
