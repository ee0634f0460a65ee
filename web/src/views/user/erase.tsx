import { useId, useRef, useState } from "react";
import { api, type Schemas, unwrap } from "../../api/client";
import { Code, ErrorNote, Text, Time } from "../../components";

/** Erase has all that is known of a person deleted: whoever does so writes the id once more, and why. */
export function Erase({ tenant, user, name }: { tenant: string; user: string; name?: string }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const [confirm, setConfirm] = useState("");
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const [done, setDone] = useState<Schemas["ErasedAnswerBody"]>();
  const ready = confirm === user && reason.trim() !== "" && !busy;

  const open = () => {
    setConfirm("");
    setError(undefined);
    dialog.current?.showModal();
  };
  async function erase() {
    if (!ready) return;
    setBusy(true);
    setError(undefined);
    try {
      setDone(
        await unwrap(
          api.POST("/v1/users/{tenant}/{user}/erase", {
            params: { path: { tenant, user } },
            body: { confirm, reason: reason.trim() },
          }),
        ),
      );
      dialog.current?.close();
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  }
  return (
    <>
      {done ? (
        <p className="notice" role="status">
          All up to <Time value={done.before} style="full" /> is being erased. It leaves this page within a minute or so; the
          topics of the log drop it by their own retention.
        </p>
      ) : (
        <button type="button" className="quiet" onClick={open}>
          Erase this person…
        </button>
      )}
      <dialog ref={dialog} aria-labelledby={title} className="erase">
        <form
          method="dialog"
          onSubmit={event => {
            event.preventDefault();
            void erase();
          }}
        >
          <h2 id={title}>Erase a person</h2>
          <p>
            Everything known of{" "}
            <strong>
              <Text value={name || user} limit={120} />
            </strong>{" "}
            up to now is deleted: events, findings, step-ups, marks, and what the detector has learnt. There is no way back, and
            the next sign-in is that of a stranger.
          </p>
          <label className="field">
            <span>
              The user’s id once more: <Code value={user} limit={256} />
            </span>
            <input
              type="text"
              value={confirm}
              autoComplete="off"
              spellCheck={false}
              maxLength={256}
              onChange={e => setConfirm(e.target.value)}
              required
            />
          </label>
          <label className="field">
            <span>Why, for the audit trail; no personal data</span>
            <input
              type="text"
              value={reason}
              autoComplete="off"
              maxLength={1000}
              onChange={e => setReason(e.target.value)}
              required
            />
          </label>
          {error !== undefined && <ErrorNote error={error} />}
          <div className="dialog-actions">
            <button type="button" className="quiet" onClick={() => dialog.current?.close()}>
              Cancel
            </button>
            <button type="submit" className="danger" disabled={!ready}>
              {busy ? "Erasing…" : "Erase"}
            </button>
          </div>
        </form>
      </dialog>
    </>
  );
}
