import { useEffect, useMemo, useRef, useState } from "react";
import { api, type Schemas, unwrap } from "../api/client";
import { useGet, usePages, useRefresh } from "../api/queries";
import {
  Act,
  Answered,
  Choice,
  Code,
  Empty,
  Filters,
  More,
  Page,
  Panel,
  Table,
  Text,
  Time,
  Typed,
  useFilter,
} from "../components";
import { bytes } from "../format/numbers";

type Letter = Schemas["DeadLetter"];

const lettersOf = (page: { dead_letters: Letter[] | null }) => page.dead_letters;

/** Component is what could not be taken in or delivered, with its bytes and the way back. */
export function Component() {
  const [stage] = useFilter("stage");
  const [source] = useFilter("source");
  const [open, setOpen] = useFilter("letter");
  const query = useMemo(() => ({ limit: 50, stage: stage || undefined, source: source || undefined }), [stage, source]);
  const letters = usePages("/v1/deadletters", { query }, lettersOf, { every: 15_000 });
  const close = () => {
    document.querySelector<HTMLElement>(`[data-letter="${CSS.escape(open)}"]`)?.focus(); // where it was opened
    setOpen("");
  };
  return (
    <Page
      title="Dead letters"
      lead="What could not be taken in, decided on, kept or delivered, of the last 30 days: with the reason and the untouched bytes. Nothing is lost; what is mended can be replayed."
    >
      {open && <One key={open} id={open} close={close} />}
      <Panel title="Letters">
        <Filters names={["stage", "source"]}>
          <Choice
            name="stage"
            label="Given up by"
            options={["ingest", "detector", "network", "archiver", "courier", "notify", "act"]}
          />
          <Typed name="source" label="Source" />
        </Filters>
        <Answered query={{ ...letters, data: letters.rows }}>
          {rows => (
            <>
              <Table
                caption="Dead letters, newest first"
                columns={[
                  { name: "When", tight: true, cell: l => <Time value={l.time} /> },
                  { name: "By", tight: true, cell: l => l.stage },
                  { name: "Source", cell: l => <Text value={l.source} limit={80} /> },
                  { name: "Why", cell: l => <Text value={l.reason} limit={200} /> },
                  { name: "Size", numeric: true, minor: true, cell: l => bytes(l.size) },
                  {
                    name: "Look",
                    tight: true,
                    cell: l => (
                      <button
                        type="button"
                        className="quiet"
                        data-letter={l.id}
                        onClick={() => setOpen(l.id)}
                        aria-label={`Look at ${l.id}`}
                      >
                        Look
                      </button>
                    ),
                  },
                ]}
                rows={rows}
                rowKey={l => l.id}
                rowClass={l => (l.id === open ? "chosen" : undefined)}
                empty={<Empty>No dead letters. That is how it should be.</Empty>}
              />
              <More query={letters} />
            </>
          )}
        </Answered>
      </Panel>
    </Page>
  );
}

const back: Record<string, string> = {
  log: "its topic, where it is read again",
  ingest: "ingest, as if it had just come in",
  stream: "the courier of its stream",
};

/** One is a letter with its bytes. */
function One({ id, close }: { id: string; close: () => void }) {
  const refresh = useRefresh();
  const letter = useGet("/v1/deadletters/{id}", { path: { id } });
  const [format, setFormat] = useState("");
  // It opens above the list: the focus, and with it the page, goes there.
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <Panel
      title="One letter"
      heading={heading}
      note={<Code value={id} limit={40} />}
      actions={
        <button type="button" className="quiet" onClick={close}>
          Close
        </button>
      }
    >
      <Answered query={letter}>
        {l => (
          <>
            <p>
              <strong>{l.stage}</strong> gave it up at <Time value={l.time} style="full" />:{" "}
              <Text value={l.reason} limit={2000} />
            </p>
            <p className="soft">
              From <Text value={l.source} limit={200} />
              {l.topic && ` · ${l.topic}, partition ${l.partition}, offset ${l.offset}`}
              {!!l.line && ` · line ${l.line}`} · {bytes(l.size)}
              {l.cut && ", of which only the beginning was kept"}
            </p>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
            <pre className="bytes" tabIndex={0}>
              <Text value={l.text} limit={8000} />
            </pre>
            {l.replay === "no" ? (
              <p className="soft">
                It cannot be replayed here. <Text value={l.hint} limit={400} />
              </p>
            ) : (
              <div className="actions">
                {l.replay === "ingest" && (
                  <label className="field">
                    <span>Take it for (as it says when left empty)</span>
                    <input
                      value={format}
                      maxLength={40}
                      placeholder={l.format}
                      onChange={e => setFormat(e.target.value.trim())}
                      spellCheck={false}
                    />
                  </label>
                )}
                <Act
                  sure={`Put it back: to ${back[l.replay] ?? l.replay}`}
                  run={async () => {
                    const body = format ? { format } : undefined;
                    const done = await unwrap(api.POST("/v1/deadletters/{id}/replay", { params: { path: { id } }, body }));
                    await refresh("/v1/deadletters", "/v1/deadletters/{id}");
                    return done?.result;
                  }}
                >
                  Replay
                </Act>
              </div>
            )}
          </>
        )}
      </Answered>
    </Panel>
  );
}
