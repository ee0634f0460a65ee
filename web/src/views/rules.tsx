import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import {
  Answered,
  Choice,
  Empty,
  Filters,
  Page,
  Panel,
  Severity,
  severities,
  Table,
  Text,
  To,
  Typed,
  useFilter,
} from "../components";
import { count, percent } from "../format/numbers";
import { useSpan } from "../shell/span";
import "./rules.css";

type Rule = Schemas["Rule"];

/** Where the pages about detections are; a page for each. */
const pages = "https://github.com/countersign-io/countersign/blob/main/docs/detections";

/** judged is how many findings of a rule somebody has called right or wrong. */
export const judged = (r: Pick<Rule, "true_positive" | "false_positive">) => r.true_positive + r.false_positive;

/** matches tells whether a rule is asked for by what was typed: any part of its id or title. */
export function matches(r: Pick<Rule, "detection" | "title">, typed: string): boolean {
  return `${r.detection} ${r.title}`.toLowerCase().includes(typed.toLowerCase());
}

/** Component is the record of the detections: what each found, whom, and how often people said that it was right. */
export function Component() {
  const span = useSpan();
  const rules = useGet("/v1/rules", {}, { span, live: { finding: true }, every: 30_000 });
  const [find] = useFilter("find");
  const [judgement] = useFilter("judged");
  return (
    <Page
      title="Rules"
      lead="What each detection found, and whether people who looked called it right. Mark findings, and the precision says which rules earn their noise."
    >
      <Answered query={rules}>
        {({ rules: all }) => {
          const asked = all.filter(r => matches(r, find));
          const found = asked.filter(
            r =>
              r.findings + r.recorded > 0 &&
              (judgement === "" ||
                (judgement === "judged" ? judged(r) > 0 : judgement === "wrong" ? r.false_positive > 0 : judged(r) === 0)),
          );
          const quiet = asked.filter(r => r.findings + r.recorded === 0);
          return (
            <>
              <Panel title="With findings" note={`${count(found.length)} of ${count(all.length)} detections`}>
                <Filters names={["find", "judged"]}>
                  <Typed name="find" label="Rule" placeholder="LOC-01 or travel" />
                  <Choice
                    name="judged"
                    label="Judged by people"
                    options={[
                      ["judged", "right or wrong"],
                      ["wrong", "wrong at least once"],
                      ["not", "never"],
                    ]}
                  />
                </Filters>
                <Found of={found} />
              </Panel>
              {quiet.length > 0 && <Quiet of={quiet} />}
            </>
          );
        }}
      </Answered>
    </Page>
  );
}

function Found({ of: rules }: { of: Rule[] }) {
  return (
    <Table
      caption="Detections with findings, those with most first"
      columns={[
        {
          name: "Rule",
          cell: r => (
            <>
              <To path="/findings" query={{ detection: r.detection }} className="rule-id">
                <Text value={r.detection} limit={40} />
              </To>{" "}
              <Text value={r.title} limit={120} />
            </>
          ),
        },
        { name: "By severity", cell: r => <BySeverity of={r} /> },
        {
          name: "Findings",
          numeric: true,
          cell: r => (
            <To path="/findings" query={{ detection: r.detection, disposition: "active" }}>
              {count(r.findings)}
            </To>
          ),
        },
        { name: "Not counted", numeric: true, minor: true, cell: r => (r.recorded ? count(r.recorded) : "–") },
        { name: "People", numeric: true, cell: r => count(r.users) },
        { name: "Open", numeric: true, cell: r => <Marked rule={r} triage="open" n={r.open} /> },
        {
          name: "Acknowledged",
          numeric: true,
          minor: true,
          cell: r => <Marked rule={r} triage="acknowledged" n={r.acknowledged} />,
        },
        { name: "Right", numeric: true, cell: r => <Marked rule={r} triage="true_positive" n={r.true_positive} /> },
        { name: "Wrong", numeric: true, cell: r => <Marked rule={r} triage="false_positive" n={r.false_positive} /> },
        { name: "Precision", tight: true, cell: r => <Precision of={r} /> },
        { name: "Page", tight: true, cell: r => <About rule={r} /> },
      ]}
      rows={rules}
      rowKey={r => r.detection}
      empty={<Empty>No rule of that kind found anything in this time. Ask for a longer time, or clear the filters.</Empty>}
    />
  );
}

/** Marked is how many findings are marked so, and leads to them. */
function Marked({ rule, triage, n }: { rule: Rule; triage: string; n: number }) {
  if (n === 0) return <span className="soft">0</span>;
  return (
    <To path="/findings" query={{ detection: rule.detection, triage }}>
      {count(n)}
    </To>
  );
}

function BySeverity({ of: r }: { of: Rule }) {
  const some = severities.filter(name => r.severities[name] > 0);
  if (some.length === 0) return <span className="soft">none that counts</span>;
  return (
    <span className="rule-severities">
      {some.map(name => (
        <To key={name} path="/findings" query={{ detection: r.detection, severity: name }}>
          <Severity value={name} /> {count(r.severities[name])}
        </To>
      ))}
    </span>
  );
}

/** Precision is a share and what it rests on, since that of three marks says little. */
function Precision({ of: r }: { of: Rule }) {
  if (r.precision === undefined) return <span className="soft">not judged</span>;
  return (
    <span className="precision">
      <b>{percent(r.precision)}</b>
      <span className="precision-bar" aria-hidden="true">
        <i className="tone-fill-good" style={{ width: `${r.precision * 100}%` }} />
      </span>
      <span className="soft">
        {count(r.true_positive)} of {count(judged(r))} judged
      </span>
    </span>
  );
}

/** About leads to the page on a detection. One that this version does not know has none. */
function About({ rule: r }: { rule: Rule }) {
  if (!r.title) return <span className="soft">unknown here</span>;
  return (
    <a href={`${pages}/${encodeURIComponent(r.detection)}.md`} rel="noopener noreferrer" aria-label={`about ${r.detection}`}>
      about
    </a>
  );
}

function Quiet({ of: rules }: { of: Rule[] }) {
  return (
    <Panel title="Quiet in this time" note={`${count(rules.length)} detections that look and found nothing`}>
      <ul className="quiet-rules">
        {rules.map(r => (
          <li key={r.detection}>
            <To path="/findings" query={{ detection: r.detection }}>
              {r.detection}
            </To>{" "}
            {r.title} <About rule={r} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}
