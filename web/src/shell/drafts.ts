// What somebody writes and has not done with: it stays while they look elsewhere, in this tab, until they sign out.

const prefix = "countersign.draft.";
const keptTried = 8;

function read(name: string): string | undefined {
  try {
    return sessionStorage.getItem(prefix + name) ?? undefined;
  } catch {
    return undefined;
  }
}

function write(name: string, text: string | undefined): void {
  try {
    if (text === undefined) sessionStorage.removeItem(prefix + name);
    else sessionStorage.setItem(prefix + name, text);
  } catch {
    // The browser keeps nothing, or has no more room: it is lost when the view is left.
  }
}

/** policyDraft is the text of policies that is being changed; undefined when it is that in force. */
export const policyDraft = { get: () => read("policies"), set: (text: string | undefined) => write("policies", text) };

/** keepTried keeps the policies that a backtest tried, of the newest few backtests. */
export function keepTried(id: string, policies: string): void {
  const ids = (read("tried") ?? "").split(" ").filter(Boolean);
  for (const old of ids.splice(0, Math.max(0, ids.length - keptTried + 1))) write(`tried.${old}`, undefined);
  write(`tried.${id}`, policies);
  write("tried", [...ids, id].join(" "));
}

/** tried is what a backtest of this tab tried. */
export const tried = (id: string) => read(`tried.${id}`);

/** forget drops all of it. */
export function forget(): void {
  try {
    for (const name of Object.keys(sessionStorage)) if (name.startsWith(prefix)) sessionStorage.removeItem(name);
  } catch {
    // Nothing was kept.
  }
}
