import { type FormEvent, useRef, useState } from "react";
import { api, type Schemas, unwrap } from "../api/client";
import { useGet, useRefresh } from "../api/queries";
import { Act, Answered, Empty, ErrorNote, Page, Panel, Status, Table, Tag, Text, Time } from "../components";
import { useMe } from "../shell/me";

type Token = Schemas["TokenInfo"];
type Role = NonNullable<Schemas["NewToken"]["role"]>;

const roles: { role: Role; may: string }[] = [
  { role: "viewer", may: "reads the overview, findings, requirements, apps and the live feed" },
  { role: "analyst", may: "also reads single persons, marks findings, backtests, exports" },
  { role: "admin", may: "everything: streams, dead letters, audit, erasing, tokens" },
];

/** Component is the API's tokens: who has one, making one, ending one. */
export function Component() {
  const tokens = useGet("/v1/tokens", {});
  return (
    <Page
      title="API tokens"
      lead="For programs that ask the API. A token may do what its scopes say, in its tenants, until it expires or is revoked."
    >
      <NewToken />
      <Panel
        title="Tokens"
        note="those that ended more than 30 days ago are forgotten; tokens of the configuration are not listed"
      >
        <Answered query={tokens}>
          {({ tokens: rows }) => (
            <Table
              caption="API tokens, newest first"
              columns={[
                { name: "Name", cell: t => <Text value={t.name} limit={80} /> },
                { name: "State", tight: true, cell: t => <State of={t} /> },
                {
                  name: "May",
                  cell: t =>
                    t.role ? <Tag title={t.scopes?.join(", ")}>{t.role}</Tag> : t.scopes?.map(s => <Tag key={s}>{s}</Tag>),
                },
                {
                  name: "In",
                  cell: t => (t.tenants?.includes("*") ? "all tenants" : <Text value={t.tenants?.join(", ")} limit={120} />),
                },
                { name: "Expires", tight: true, cell: t => <Time value={t.expires} /> },
                {
                  name: "Made",
                  minor: true,
                  cell: t => (
                    <>
                      <Time value={t.created} /> by <Text value={t.created_by} limit={60} />
                    </>
                  ),
                },
                { name: "Revoke", tight: true, cell: t => (t.state === "active" ? <Revoke token={t} /> : null) },
              ]}
              rows={rows ?? []}
              rowKey={t => t.id}
              empty={<Empty>No program has a token that was made here.</Empty>}
            />
          )}
        </Answered>
      </Panel>
    </Page>
  );
}

function State({ of: token }: { of: Token }) {
  const tone = { active: "good", expired: "quiet", revoked: "bad" } as const;
  return <Status value={token.state} tone={tone[token.state]} />;
}

/** NewToken makes a token and shows its secret, this once. */
function NewToken() {
  const me = useMe();
  const refresh = useRefresh();
  const [made, setMade] = useState<Schemas["TokenCreatedBody"]>();
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const tenants = me.all_tenants ? ["*"] : (me.tenants ?? []);
  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const text = (name: string) => String(fields.get(name) ?? "").trim();
    setBusy(true);
    setError(undefined);
    try {
      const body = {
        name: text("name"),
        role: text("role") as Role,
        tenants: text("tenants")
          .split(/[\s,]+/)
          .filter(Boolean),
        expires_days: Number(text("days")),
      };
      setMade(await unwrap(api.POST("/v1/tokens", { body })));
      form.current?.reset();
      await refresh("/v1/tokens");
    } catch (cause) {
      setError(cause);
    } finally {
      setBusy(false);
    }
  }
  return (
    <Panel title="Make a token">
      <form ref={form} className="filters" onSubmit={submit}>
        <label className="field">
          <span>Name</span>
          <input name="name" required maxLength={128} placeholder="siem-export" autoComplete="off" />
        </label>
        <label className="field">
          <span>Role</span>
          <select name="role" defaultValue="viewer">
            {roles.map(({ role, may }) => (
              <option key={role} value={role} title={may}>
                {role}
              </option>
            ))}
          </select>
        </label>
        <label className="field">
          <span>Tenants</span>
          <input
            name="tenants"
            required
            defaultValue={tenants.join(" ")}
            title="separated by spaces; * is all"
            autoComplete="off"
          />
        </label>
        <label className="field">
          <span>Days</span>
          <input name="days" type="number" required min={1} max={3650} defaultValue={90} />
        </label>
        <button type="submit" disabled={busy}>
          Make it
        </button>
      </form>
      <ul className="soft">
        {roles.map(({ role, may }) => (
          <li key={role}>
            <b>{role}</b> {may}
          </li>
        ))}
      </ul>
      {error !== undefined && <ErrorNote error={error} />}
      {made && (
        <div className="notice" role="status">
          <p>
            The token <Text value={made.name} />. Copy it now: it is shown this once and kept nowhere.
          </p>
          <p>
            <code className="secret">{made.token}</code>{" "}
            <button type="button" className="quiet" onClick={() => void navigator.clipboard?.writeText(made.token)}>
              Copy
            </button>{" "}
            <button type="button" className="quiet" onClick={() => setMade(undefined)}>
              I have it
            </button>
          </p>
        </div>
      )}
    </Panel>
  );
}

/** Revoke asks once more, in place. */
function Revoke({ token }: { token: Token }) {
  const refresh = useRefresh();
  return (
    <Act
      danger
      label={`Revoke ${token.name}`}
      sure="Revoke for good"
      run={async () => {
        await unwrap(api.DELETE("/v1/tokens/{id}", { params: { path: { id: token.id } } }));
        await refresh("/v1/tokens");
        return "revoked";
      }}
    >
      Revoke
    </Act>
  );
}
