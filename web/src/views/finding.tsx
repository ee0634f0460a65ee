import "./finding.css";
import { useRef, useState } from "react";
import { useParams } from "react-router";
import type { Schemas } from "../api/client";
import { useGet } from "../api/queries";
import {
  Answered,
  AppLink,
  Code,
  Facts,
  FindingLink,
  Json,
  NetworkLink,
  Page,
  Panel,
  pathOf,
  SessionLink,
  Severity,
  Status,
  Tag,
  Text,
  Time,
  To,
  UserLink,
  useGo,
} from "../components";
import { Considered, Parameters } from "./finding/considered";
import { DecisionPanel } from "./finding/decision";
import { Explanation } from "./finding/explanation";
import { Where } from "./finding/journey";
import { Parts, SightFacts } from "./finding/parts";
import { RiskPanel, ScorePanel } from "./finding/score";
import { Sides } from "./finding/sides";
import { TriageBox } from "./finding/triage";
import { deviceName, networkName, placeName, refName } from "./finding/words";
import { useKeys } from "./parts/keys";
import { Shortcuts } from "./parts/shortcuts";

type Details = Schemas["DetailsAnswerBody"];

export function Component() {
  const { id = "" } = useParams();
  return <Finding key={id} id={id} />;
}

function Finding({ id }: { id: string }) {
  const query = useGet(
    "/v1/findings/{id}/details",
    { path: { id } },
    {
      about: id,
      live: {
        mark: m => m.finding === id,
        requirement: (r, d) => r.id === d?.finding.decision?.requirement,
        receipt: (r, d) => r.requirement === d?.finding.decision?.requirement,
      },
    },
  );
  const finding = query.data?.finding;
  // While a question is asked again after a problem, it has none; what could be done meanwhile stays.
  const problem = useRef<Error | null>(null);
  if (query.error) problem.current = query.error;
  else if (query.data) problem.current = null;
  const away = problem.current !== null && query.data === undefined;
  return (
    <Page
      title={finding ? finding.title : "Finding"}
      lead={finding ? <Lead finding={finding} /> : <Code value={id} />}
      actions={query.data && <Near details={query.data} />}
    >
      <div className="finding-grid">
        <div className="finding-main">
          <Answered query={query} loading="Looking it up">
            {details => <Shown details={details} />}
          </Answered>
        </div>
        {(query.data || (away && !notThere(problem.current))) && (
          <aside className="finding-side" aria-label="Triage">
            <TriageBox id={id} kept={query.error ? undefined : query.data?.triage} marks={query.data?.marks} />
            {query.data && <Siblings siblings={query.data.siblings} />}
          </aside>
        )}
      </div>
    </Page>
  );
}

const notThere = (error: Error | null) => [403, 404, 422].includes((error as { status?: number } | null)?.status ?? 0);

/** What happened, in one sentence. */
function Lead({ finding }: { finding: Details["finding"] }) {
  return (
    <>
      <p className="finding-badges">
        <Severity value={finding.severity} /> <Tag>{finding.detection}</Tag> <Status value={finding.disposition} />{" "}
        {finding.technique && <Tag title="MITRE ATT&CK technique">{finding.technique}</Tag>}{" "}
        <Time value={finding.time} style="full" />
      </p>
      <p className="finding-sentence">
        <UserLink tenant={finding.tenant} user={finding.user.id} name={finding.user.name} />
        {": "}
        <Text value={finding.summary} limit={600} />.
      </p>
    </>
  );
}

/** Near leads to the same user's findings before and after this one. */
function Near({ details: { near, finding } }: { details: Details }) {
  const go = useGo();
  const to = (id: string | undefined) => id && go(pathOf("findings", id));
  useKeys({ p: () => to(near.previous), n: () => to(near.next) });
  return (
    <nav className="near" aria-label="Findings of the same user">
      {near.previous && <FindingLink id={near.previous}>← the user’s one before</FindingLink>}
      {near.next && <FindingLink id={near.next}>the user’s next one →</FindingLink>}
      <To path="/findings" query={{ tenant: finding.tenant, user: finding.user.id }}>
        all of this user
      </To>
    </nav>
  );
}

function Shown({ details }: { details: Details }) {
  const { finding } = details;
  const { sight, risk } = finding.evidence;
  const app = sight.app;
  return (
    <>
      <Panel title="What happened" note={finding.evidence.session ? "a session in use" : undefined}>
        <Facts
          of={[
            ["Who", <UserLink key="who" tenant={finding.tenant} user={finding.user.id} name={finding.user.name} />],
            ["User id", <Code key="id" value={finding.user.id} />],
            ["Groups", (finding.user.groups?.length ?? 0) > 0 && <Text value={finding.user.groups?.join(", ")} />],
            ["Privileged", finding.user.privileged && "yes"],
            ["Tenant", <Text key="tenant" value={finding.tenant} />],
            ["App", app?.id && <AppLink tenant={finding.tenant} app={app.id} name={app.name} />],
            ["Resource", refName(sight.resource) && <Text value={refName(sight.resource)} />],
            ["Place", placeName(sight.place) && <Text value={placeName(sight.place)} />],
            ["Address", sight.ip && <NetworkLink ip={sight.ip} />],
            ["Network", networkName(sight.network) && <Text value={networkName(sight.network)} />],
            ["Kind of network", sight.network?.classes?.length ? sight.network.classes.map(c => <Tag key={c}>{c}</Tag>) : ""],
            ["Device", deviceName(sight.device) && <Text value={deviceName(sight.device)} />],
            ["Session", sight.session && <SessionLink tenant={finding.tenant} session={sight.session} />],
            ["User agent", userAgent(details) && <Text value={userAgent(details)} />],
          ]}
        />
      </Panel>
      <Where finding={finding} />
      <Sides finding={finding} />
      <ScorePanel finding={finding} />
      {risk && <RiskPanel risk={risk} tenant={finding.tenant} user={finding.user.id} />}
      <div className="grid">
        <Parts finding={finding} />
      </div>
      <Considered finding={finding} />
      <DecisionPanel finding={finding} requirement={details.requirement} receipts={details.receipts} />
      <Explanation id={finding.id} />
      <Parameters finding={finding} />
      <Record details={details} />
      <Shortcuts
        keys={[
          ["a", "acknowledge"],
          ["t", "true positive"],
          ["f", "false positive"],
          ["o", "reopen"],
          ["p n", "the user’s finding before, after"],
        ]}
      />
    </>
  );
}

const userAgent = (details: Details) => (typeof details.event?.user_agent === "string" ? details.event.user_agent : undefined);

/** Siblings are what else was found in the same event. */
function Siblings({ siblings }: { siblings: Details["siblings"] }) {
  if (siblings.length === 0) return null;
  return (
    <Panel title="Found in the same event" note={String(siblings.length)}>
      <ul className="siblings">
        {siblings.map(other => (
          <li key={other.id}>
            <Severity value={other.severity} />{" "}
            <FindingLink id={other.id}>
              {other.detection} {other.title}
            </FindingLink>{" "}
            {other.disposition !== "active" && <Status value={other.disposition} />}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** Record is the record as it is on the log, to look at or to copy. */
function Record({ details }: { details: Details }) {
  const [copied, setCopied] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(details.finding, null, 2));
      setCopied("Copied.");
    } catch {
      setCopied("The browser does not allow it: open the record and copy from there.");
    }
  };
  return (
    <Panel
      title="The records"
      actions={
        <>
          <span role="status" className="saved">
            {copied}
          </span>{" "}
          <button type="button" className="quiet" onClick={() => void copy()}>
            Copy the finding
          </button>
        </>
      }
    >
      <Facts
        of={[
          ["Finding", <Code key="f" value={details.finding.id} />],
          ["Event", <Code key="e" value={details.finding.event_id} />],
          [
            "Compared with",
            details.finding.anchors?.length ? details.finding.anchors.map(a => <Code key={a} value={a} />) : "",
          ],
          ["Accepted", details.finding.ingested && <Time value={details.finding.ingested} style="full" />],
        ]}
      />
      <Json value={details.finding} title="The finding as it is on the log" />
      {details.event ? (
        <Json value={details.event} title="The event as it is on the log" />
      ) : (
        <SightFacts sight={details.finding.evidence.sight} tenant={details.finding.tenant} />
      )}
    </Panel>
  );
}
