import { Page } from "../components";
import type { View } from "../views";
import { useMay } from "./me";

/** scoped loads a view, and shows to who has not its scope that it is not theirs, in place of parts that would fail. */
export function scoped({ load, scope, nav }: View): View["load"] {
  return async () => {
    const { Component: Whole } = await load();
    return {
      Component: () => {
        const may = useMay(scope ?? "read");
        return may ? <Whole /> : <NotYours scope={scope ?? "read"} title={nav?.label ?? "No access"} />;
      },
    };
  };
}

function NotYours({ scope, title }: { scope: string; title: string }) {
  return (
    <Page title={title}>
      <div className="error-note" role="alert">
        <strong>Not yours to see.</strong> This needs the scope <code>{scope}</code>, which your token or role has not.
        <div className="error-advice">Ask an administrator for a token or a role that may.</div>
      </div>
    </Page>
  );
}
