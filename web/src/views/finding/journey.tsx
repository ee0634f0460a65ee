import "./journey.css";
import { scaleLog } from "d3-scale";
import { useWidth } from "../../charts/width";
import { Panel, Text, Time } from "../../components";
import { distance } from "../../format/numbers";
import { SceneMap } from "./map";
import { sceneOf } from "./places";
import {
  type Finding,
  journeySentence,
  type Limit,
  located,
  overAirliner,
  placeName,
  span,
  speed,
  speedLimitsOf,
  type Travel,
} from "./words";

/** Where is the map of a finding, and the reckoning of its journey where it has one. */
export function Where({ finding }: { finding: Finding }) {
  const scene = sceneOf(finding);
  const { travel, sight } = finding.evidence;
  if (scene.spots.length === 0 && !travel) return null;
  const label = travel ? journeySentence(travel) : `Where it happened: ${placeName(sight.place) || "unknown"}.`;
  return (
    <Panel
      title={travel ? "The journey nobody made" : "Where"}
      note={travel ? overAirliner(travel.speed_kmh) : undefined}
      className="where"
    >
      <SceneMap scene={scene} label={label} />
      {travel && <Reckoning travel={travel} limits={speedLimitsOf(finding, travel.speed_kmh)} />}
      <More finding={finding} />
    </Panel>
  );
}

/** Reckoning shows how a speed came about: the distance less what is uncertain, over the gap. */
export function Reckoning({ travel, limits }: { travel: Travel; limits: Limit[] }) {
  const counted = Math.max(travel.gap_s, 60);
  return (
    <>
      <div className="reckoning">
        <Term value={distance(travel.distance_km)} name="between the places" />
        <Sign is="−" say="less" />
        <Term value={distance(travel.radius_from_km)} name="uncertain there" />
        <Sign is="−" say="less" />
        <Term value={distance(travel.radius_to_km)} name="uncertain here" />
        <Sign is="=" say="is" />
        <Term value={distance(travel.effective_km)} name="at the least" strong />
        <Sign is="÷" say="in" />
        <Term value={span(counted)} name={travel.gap_s < 60 ? "the least that is counted" : "in between"} />
        <Sign is="=" say="is" />
        <Term value={speed(travel.speed_kmh)} name={overAirliner(travel.speed_kmh)} strong />
      </div>
      <SpeedScale kmh={travel.speed_kmh} limits={limits} />
    </>
  );
}

function Term({ value, name, strong }: { value: string; name: string; strong?: boolean }) {
  return (
    <div className={strong ? "term strong" : "term"}>
      <b>{value}</b>
      <span>{name}</span>
    </div>
  );
}

function Sign({ is, say }: { is: string; say: string }) {
  return (
    <span className="sign">
      <span aria-hidden="true">{is}</span>
      <span className="visually-hidden">{say}</span>
    </span>
  );
}

/** SpeedScale shows a speed beside the limits in force and beside what people know. */
function SpeedScale({ kmh, limits }: { kmh: number; limits: Limit[] }) {
  const [ref, width] = useWidth<HTMLDivElement>();
  if (!(kmh > 0)) return null;
  const top = Math.max(kmh * 1.6, 4000);
  const x = scaleLog([60, top], [8, width - 8]).clamp(true);
  const known: [number, string][] = [
    [120, "car"],
    [300, "train"],
    [900, "airliner"],
  ];
  const at = x(kmh);
  const passed = limits.filter(l => l.passed).pop();
  const said = `${speed(kmh)}; the limits in force: ${limits.map(l => `${speed(l.value)} ${l.word}`).join(", ") || "none by speed"}.`;
  return (
    <div ref={ref} className="speed-scale">
      <svg viewBox={`0 0 ${width} 62`} width={width} height="62" role="img" aria-label={said}>
        <line className="axis" x1={8} x2={width - 8} y1="30" y2="30" />
        <line className={passed ? "run passed" : "run"} x1={8} x2={at} y1="30" y2="30" />
        {known.map(([value, word]) => (
          <g key={word} className="known">
            <line x1={x(value)} x2={x(value)} y1="26" y2="34" />
            <text x={x(value)} y="46" textAnchor="middle">
              {word}
            </text>
          </g>
        ))}
        {limits.map((limit, i) => (
          <g key={limit.name} className="limit">
            <line x1={x(limit.value)} x2={x(limit.value)} y1="14" y2="38" />
            <text x={x(limit.value) + (i === 0 ? -4 : 4)} y="12" textAnchor={i === 0 && limits.length > 1 ? "end" : "start"}>
              {Math.round(limit.value)}
            </text>
          </g>
        ))}
        <circle className={passed ? "now passed" : "now"} cx={at} cy="30" r="6" />
        <text className="now-text" x={Math.min(at, width - 8)} y="60" textAnchor={at > width - 60 ? "end" : "middle"}>
          {speed(kmh)}
        </text>
      </svg>
      {limits.length > 0 && (
        <p className="soft">
          In force:{" "}
          {limits.map((limit, i) => (
            <span key={limit.name}>
              {i > 0 && "; "}
              {speed(limit.value)} is {limit.word}
              {limit.passed && " ✓"}
            </span>
          ))}
          .
        </p>
      )}
    </div>
  );
}

/** More says what else was looked at: the way back, other places, and places that contradict each other. */
function More({ finding }: { finding: Finding }) {
  const e = finding.evidence;
  const others = e.other_travels ?? [];
  return (
    <>
      {e.return && (
        <p>
          <strong>And back:</strong> <Text value={journeySentence(e.return)} />
        </p>
      )}
      {others.length > 0 && (
        <details>
          <summary>
            {others.length === 1 ? "Another place it was compared with" : `${others.length} other places it was compared with`}
          </summary>
          <ul className="plain-list">
            {others.map(other => (
              <li key={`${other.from.event_id}${other.from.time}`}>
                <Time value={other.from.time} /> <Text value={journeySentence(other)} />
              </li>
            ))}
          </ul>
        </details>
      )}
      {e.geo_conflict && located(e.sight.provider_place) && (
        <p className="notice">
          The places contradict each other: our database says <Text value={placeName(e.sight.place) || "nothing"} />, the
          provider says <Text value={placeName(e.sight.provider_place)} />. Such a finding is of medium severity at most.
        </p>
      )}
    </>
  );
}
