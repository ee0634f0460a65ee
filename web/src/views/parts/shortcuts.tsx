import { Fragment } from "react";

/** Shortcuts says which keys a view knows. */
export function Shortcuts({ keys }: { keys: [key: string, does: string][] }) {
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
