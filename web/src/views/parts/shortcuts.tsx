import { Fragment } from "react";
import { shortcuts } from "../../shell/shortcuts";

/** Shortcuts says which keys a view knows, unless they are turned off. */
export function Shortcuts({ keys }: { keys: [key: string, does: string][] }) {
  if (shortcuts.use() === "off") return null;
  return (
    <details className="shortcuts">
      <summary>Keys</summary>
      <dl>
        {keys.map(([key, does]) => (
          <Fragment key={key}>
            <dt>
              {key.split(" ").map(k => (
                <kbd key={k}>{k}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </Fragment>
        ))}
      </dl>
    </details>
  );
}
