import type { Schemas } from "../../api/client";
import { AppLink, Json, NetworkLink, SessionLink, Status, Tag, Text } from "../../components";
import { causeName, deviceName, kindName, networkName, placeName, refName } from "../finding/words";

type Event = Schemas["Event"];

const tones: Record<string, "good" | "bad" | "warn" | "quiet"> = {
  success: "good",
  failure: "bad",
  blocked: "bad",
  challenge: "warn",
  interrupt: "quiet",
};

/** EventLine is an event in some words, with all of it on demand. */
export function EventLine({ event: e }: { event: Event }) {
  const change = e.change && [e.change.type, e.change.action].filter(Boolean).join(" ").replaceAll("_", " ");
  return (
    <div className="event-line">
      <span>
        <b>{kindName(e.kind)}</b> {e.outcome && <Status value={e.outcome} tone={tones[e.outcome] ?? "quiet"} />}
        {e.cause && <span className="soft"> {causeName(e.cause)}</span>}
        {change && (
          <>
            {" "}
            <Text value={change} limit={80} /> <Text value={refName(e.change?.target)} limit={80} />
          </>
        )}
        {e.app?.id && (
          <>
            {" "}
            for <AppLink tenant={e.tenant} app={e.app.id} name={e.app.name} />
          </>
        )}
        {e.auth?.mfa === "performed" && <Tag>second factor</Tag>}
      </span>
      <span className="event-where soft">
        {e.ip && <NetworkLink ip={e.ip} />}{" "}
        <Text
          value={[placeName(e.place), networkName(e.network), deviceName(e.device)].filter(Boolean).join(" · ")}
          limit={160}
        />{" "}
        {e.session?.id && <SessionLink tenant={e.tenant} session={e.session.id} />}
      </span>
      {e.user_agent && (
        <span className="event-agent soft">
          <Text value={e.user_agent} limit={200} />
        </span>
      )}
      <Json value={e} title="All of it" />
    </div>
  );
}
