import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { Code, Facts, Json, NetworkLink, Panel, SessionLink, Severity, Tag, Text, Time, To } from "../../components";
import { count, percent } from "../../format/numbers";
import { Attempts } from "./attempts";
import {
  deviceName,
  type Finding,
  factName,
  held,
  hourOfWeek,
  isTime,
  networkName,
  novelName,
  novelValue,
  placeName,
  refName,
  type Sight,
  sentenceCase,
} from "./words";

type Evidence = Finding["evidence"];

/** SightFacts is an observation: when, where, through what, with what. */
export function SightFacts({ sight, tenant }: { sight: Sight; tenant: string }) {
  return (
    <Facts
      of={[
        ["When", sight.time && <Time value={sight.time} style="full" />],
        ["Place", placeName(sight.place) && <Text value={placeName(sight.place)} />],
        ["Place, provider", placeName(sight.provider_place) && <Text value={placeName(sight.provider_place)} />],
        ["Address", sight.ip && <NetworkLink ip={sight.ip} />],
        ["Network", networkName(sight.network) && <Text value={networkName(sight.network)} />],
        ["Kind of network", sight.network?.classes?.length ? sight.network.classes.map(c => <Tag key={c}>{c}</Tag>) : ""],
        ["Device", deviceName(sight.device) && <Text value={deviceName(sight.device)} />],
        ["Device name", sight.device?.name && <Text value={sight.device.name} />],
        ["Device id", sight.device?.id && <Code value={sight.device.id} />],
        ["Managed", held(sight.device?.managed, "yes", "no")],
        ["App", refName(sight.app) && <Text value={refName(sight.app)} />],
        ["Resource", refName(sight.resource) && <Text value={refName(sight.resource)} />],
        ["Session", sight.session && <SessionLink tenant={tenant} session={sight.session} />],
      ]}
    />
  );
}

type Part = { title: string; show: (value: never, finding: Finding) => ReactNode };

/**
 * The rest of a finding's evidence, part by part. Those that have a picture of their own (the sight, journeys, the session,
 * the score, the risk) are not here; what is in no list is shown as it is.
 */
const partsOf: { [K in keyof Evidence]?: Part } = {
  novel: { title: "New for the user", show: (terms: Schemas["NovelTerm"][]) => <Novel terms={terms} /> },
  attempts: { title: "Attempts", show: (attempts: Schemas["Attempt"][]) => <Attempts attempts={attempts} /> },
  chain: {
    title: "Seen with it",
    show: (chain: Sight[], finding) => (
      <ol className="chain">
        {chain.map(sight => (
          <li key={`${sight.event_id}${sight.time}`}>
            <Time value={sight.time} />{" "}
            <Text
              value={[placeName(sight.place), networkName(sight.network), deviceName(sight.device)].filter(Boolean).join(" · ")}
            />
            {sight.ip && (
              <>
                {" "}
                <NetworkLink ip={sight.ip} />
              </>
            )}
            {sight.session && (
              <>
                {" "}
                <SessionLink tenant={finding.tenant} session={sight.session} />
              </>
            )}
          </li>
        ))}
      </ol>
    ),
  },
  earlier: {
    title: "Builds on",
    show: (earlier: Schemas["Earlier"][], finding) => (
      <ul className="plain-list">
        {earlier.map(one => (
          <li key={`${one.detection}${one.time}`}>
            <Time value={one.time} />{" "}
            <To path="/findings" query={{ tenant: finding.tenant, user: finding.user.id, detection: one.detection }}>
              {one.detection}
            </To>{" "}
            {one.severity && <Severity value={one.severity} />}
          </li>
        ))}
      </ul>
    ),
  },
  verdict: { title: "What was seen across many users", show: (verdict: Schemas["Verdict"]) => <Verdict verdict={verdict} /> },
  vendor: { title: "What the provider says", show: (risk: Schemas["Risk"]) => <Vendor risk={risk} /> },
  change: { title: "What was changed", show: (change: Schemas["Change"]) => <Change change={change} /> },
  facts: {
    title: "What else decided",
    show: (facts: Schemas["Fact"][]) => (
      <Facts of={facts.map(fact => [factName(fact.name), <FactValue key={fact.name} fact={fact} />])} />
    ),
  },
  history: {
    title: "What is known of the user",
    show: (history: Schemas["History"]) => (
      <p>
        {history.successes === 1 ? "One successful sign-in" : `${count(history.successes)} successful sign-ins`} before this one
        {history.first_seen && (
          <>
            , the first seen on <Time value={history.first_seen} style="full" />
          </>
        )}
        .
      </p>
    ),
  },
};

const drawn: (keyof Evidence)[] = ["sight", "travel", "return", "other_travels", "session", "score", "risk", "geo_conflict"];

/** Parts shows every part of the evidence that has no picture of its own. */
export function Parts({ finding }: { finding: Finding }) {
  const evidence = finding.evidence;
  const keys = Object.keys(evidence).filter(key => !drawn.includes(key as keyof Evidence)) as (keyof Evidence)[];
  const order = Object.keys(partsOf);
  const place = (key: string) => (order.includes(key) ? order.indexOf(key) : order.length); // what is not known comes last
  return keys
    .filter(key => evidence[key] !== null && evidence[key] !== undefined)
    .sort((a, b) => place(a) - place(b))
    .map(key => {
      const part = partsOf[key];
      return (
        <Panel key={key} title={part?.title ?? sentenceCase(key)}>
          {part ? part.show(evidence[key] as never, finding) : <Json value={evidence[key]} title="As it is on the record" />}
        </Panel>
      );
    });
}

function FactValue({ fact }: { fact: Schemas["Fact"] }) {
  if (isTime(fact.value)) return <Time value={fact.value} style="full" />;
  if (fact.name === "hour_of_week" && /^\d{1,3}$/.test(fact.value)) return hourOfWeek(Number(fact.value));
  if (fact.name === "share" && /^[01]?\.\d+$/.test(fact.value)) return percent(Number(fact.value));
  return <Text value={fact.value} />;
}

function Novel({ terms }: { terms: Schemas["NovelTerm"][] }) {
  return (
    <ul className="plain-list">
      {terms.map(term => (
        <li key={`${term.kind}${term.value}`}>
          <span className="soft">{novelName(term.kind)}:</span>{" "}
          <strong>
            <Text value={novelValue(term)} limit={160} />
          </strong>
          <span className="soft">
            {term.last_seen ? (
              <>
                {" "}
                not since <Time value={term.last_seen} style="full" />
              </>
            ) : (
              " never seen before"
            )}
            ; {count(term.known)} known
          </span>
        </li>
      ))}
    </ul>
  );
}

const tried = ["once", "twice", "3 to 6 times", "more often"];

function Verdict({ verdict: v }: { verdict: Schemas["Verdict"] }) {
  const histogram = v.histogram ?? [];
  const most = Math.max(...histogram, 1);
  return (
    <>
      <p>
        {v.users ? (
          <>
            <strong>{count(v.users)} users</strong> were tried in {count(v.tries ?? 0)} attempts
            {v.source && (
              <>
                {" "}
                from <Text value={v.source} />
              </>
            )}
            ; <strong>{count(v.succeeded ?? 0)}</strong> got in.
          </>
        ) : (
          v.source && (
            <>
              The source is <Text value={v.source} />.
            </>
          )
        )}
        {v.z !== undefined && v.z > 0 && (
          <>
            {" "}
            {(v.mean ?? 0).toFixed(1)} users are usual (± {(v.deviation ?? 0).toFixed(1)}): this is {v.z.toFixed(1)} deviations
            above.
          </>
        )}
      </p>
      {histogram.length > 0 && (
        <ul className="bars" aria-label="Users by how often they were tried">
          {histogram.map((n, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the place in the list is what a number means
            <li key={i}>
              <span className="bar-name">tried {tried[Math.min(i, 3)]}</span>
              <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                <rect className="fill" width={(n / most) * 100} height="8" />
              </svg>
              <span className="bar-value">{count(n)} users</span>
            </li>
          ))}
        </ul>
      )}
      <Facts
        of={[
          ["Detection", v.detection],
          ["Severity", v.severity && <Severity value={v.severity} />],
          ["From", v.from && <Time value={v.from} style="full" />],
          ["To", v.to && <Time value={v.to} style="full" />],
          ["Fingerprint", v.fingerprint && <Text value={v.fingerprint} />],
          ["Share of it", v.share !== undefined && v.share > 0 && percent(v.share)],
          ["Some of the users", (v.sample?.length ?? 0) > 0 && <Text value={v.sample?.join(", ")} />],
          ["Incident", v.incident && <Code value={v.incident} />],
        ]}
      />
    </>
  );
}

function Vendor({ risk }: { risk: Schemas["Risk"] }) {
  return (
    <Facts
      of={[
        ["Risk of it", risk.level && <Text value={risk.level} />],
        ["Risk of the user", risk.user && <Text value={risk.user} />],
        ["State", risk.state && <Text value={risk.state.replaceAll("_", " ")} />],
        ["Its names", (risk.detections?.length ?? 0) > 0 && <Text value={risk.detections?.join(", ")} />],
        ["Detail", risk.detail && <Text value={risk.detail} />],
        ["Of the sign-in", risk.sign_in && <Code value={risk.sign_in} />],
        ["Happened", risk.happened && <Time value={risk.happened} style="full" />],
      ]}
    />
  );
}

function Change({ change }: { change: Schemas["Change"] }) {
  return (
    <Facts
      of={[
        ["What", <Text key="what" value={[change.type, change.action].filter(Boolean).join(" ").replaceAll("_", " ")} />],
        ["Of", refName(change.target) && <Text value={refName(change.target)} />],
        ["By", refName(change.actor) && <Text value={refName(change.actor)} />],
        ["Grants", (change.grants?.length ?? 0) > 0 && <Text value={change.grants?.join(" ")} />],
        ["From", change.from && <Text value={change.from} />],
        ["To", change.to && <Text value={change.to} />],
      ]}
    />
  );
}
