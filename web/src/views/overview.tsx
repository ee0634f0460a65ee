import { useGet } from "../api/queries";
import { Answered, Page, Panel } from "../components";
import { count } from "../format/numbers";
import { useSpan } from "../shell/span";

export function Component() {
  const span = useSpan();
  const overview = useGet("/v1/overview", {}, { span, live: ["finding", "requirement"], every: 15_000 });
  return (
    <Page title="Overview">
      <Answered query={overview}>
        {o => (
          <Panel title="Events">
            <p>{count(o.events)}</p>
          </Panel>
        )}
      </Answered>
    </Page>
  );
}
