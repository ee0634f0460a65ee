import { useEffect, useId, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { type LiveState, useLiveState } from "../api/live";
import { setZone, useZone, when, zoneName } from "../format/time";
import { forget } from "./drafts";
import type { Me } from "./me";
import { useSearch } from "./search";
import { shortcuts } from "./shortcuts";
import { keepSpan, presets, useSpan } from "./span";
import { setTheme, type Theme, useTheme } from "./theme";

export function Header({ me, menuOpen, onMenu }: { me: Me; menuOpen: boolean; onMenu: () => void }) {
  const [search] = useSearchParams();
  return (
    <header className="top">
      <button type="button" className="menu quiet" aria-expanded={menuOpen} aria-controls="navigation" onClick={onMenu}>
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
          <path d="M1 3h14M1 8h14M1 13h14" stroke="currentColor" strokeWidth="2" />
        </svg>
        <span className="visually-hidden">Views</span>
      </button>
      <Link className="brand" to={{ pathname: "/", search: keepSpan(search) }}>
        <img src="/icon.svg" alt="" width="20" height="20" />
        countersign
      </Link>
      <Live />
      <div className="pickers">
        <TenantPicker me={me} />
        <RangePicker />
        <Settings me={me} />
      </div>
    </header>
  );
}

const states: Record<LiveState, [shown: string, title: string]> = {
  live: ["live", "The live feed is connected"],
  connecting: ["connecting", "The live feed is connecting"],
  away: ["reconnecting", "The live feed is away and comes back by itself"],
  quiet: ["paused", "The live feed pauses while the page is hidden"],
};

function Live() {
  const state = useLiveState();
  const [shown, title] = states[state];
  return (
    <span className={`live live-${state}`} role="status" title={title}>
      {shown}
    </span>
  );
}

function TenantPicker({ me }: { me: Me }) {
  const [search, change] = useSearch();
  const chosen = search.get("tenant") ?? "";
  const choose = (tenant: string) =>
    change(next => {
      if (tenant) next.set("tenant", tenant);
      else next.delete("tenant");
    });
  if (!me.all_tenants && me.tenants.length === 1) {
    return <span className="one-tenant">{me.tenants[0]}</span>;
  }
  if (me.all_tenants) return <AnyTenant chosen={chosen} choose={choose} />;
  return (
    <label className="field inline">
      <span>Tenant</span>
      <select aria-label="Tenant" value={chosen} onChange={e => choose(e.target.value)}>
        <option value="">all of mine</option>
        {me.tenants.map(tenant => (
          <option key={tenant}>{tenant}</option>
        ))}
        {chosen && !me.tenants.includes(chosen) && <option>{chosen}</option>}
      </select>
    </label>
  );
}

/** AnyTenant is for who may see every tenant, and so has no list of them. */
function AnyTenant({ chosen, choose }: { chosen: string; choose: (tenant: string) => void }) {
  const [typed, setTyped] = useState(chosen);
  useEffect(() => setTyped(chosen), [chosen]);
  const commit = () => typed.trim() !== chosen && choose(typed.trim());
  return (
    <label className="field inline tenant">
      <span>Tenant</span>
      <input
        type="search"
        value={typed}
        placeholder="all"
        maxLength={64}
        size={8}
        spellCheck={false}
        autoComplete="off"
        onChange={e => setTyped(e.target.value)}
        onBlur={commit}
        onKeyDown={e => e.key === "Enter" && commit()}
      />
    </label>
  );
}

/** local writes a time for a datetime-local input. */
function local(time: string | undefined): string {
  if (!time) return "";
  const t = new Date(time);
  return new Date(t.getTime() - t.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function RangePicker() {
  const span = useSpan();
  const zone = useZone();
  const [, change] = useSearch();
  const [own, setOwn] = useState(false);
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  const set = (values: Record<string, string>) =>
    change(next => {
      for (const name of ["range", "from", "to"]) next.delete(name);
      for (const [name, value] of Object.entries(values)) next.set(name, value);
    });

  useEffect(() => {
    if (own) dialog.current?.showModal();
    else dialog.current?.close();
  }, [own]);

  function open() {
    const now = span.query();
    setFrom(local(now.from));
    setTo(local(now.to));
    setOwn(true);
  }
  const good = from !== "" && to !== "" && from < to;
  return (
    <>
      <label className="field inline">
        <span>Time</span>
        <select
          aria-label="Time"
          value={span.preset ?? "own"}
          onChange={e => (e.target.value === "own" ? open() : set({ range: e.target.value }))}
        >
          {Object.entries(presets).map(([name, { label }]) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
          <option value="own">
            {span.preset
              ? "another time…"
              : `${when(span.from ?? "", "short", zone).slice(0, -3)} – ${when(span.to ?? "", "short", zone).slice(0, -3)}${zone === "utc" ? " UTC" : ""}`}
          </option>
        </select>
      </label>
      {!span.preset && (
        <button type="button" className="quiet" onClick={open}>
          Change
        </button>
      )}
      <dialog ref={dialog} aria-labelledby={title} onClose={() => setOwn(false)}>
        <form
          method="dialog"
          onSubmit={() => good && set({ from: new Date(from).toISOString(), to: new Date(to).toISOString() })}
        >
          <h2 id={title}>The time to show</h2>
          <p className="soft">By your clock: {zoneName()}.</p>
          <label className="field">
            <span>From</span>
            <input type="datetime-local" value={from} required onChange={e => setFrom(e.target.value)} />
          </label>
          <label className="field">
            <span>To</span>
            <input type="datetime-local" value={to} required onChange={e => setTo(e.target.value)} />
          </label>
          {!good && <p className="error-note">The start must be before the end.</p>}
          <div className="dialog-actions">
            <button type="button" className="quiet" onClick={() => setOwn(false)}>
              Cancel
            </button>
            <button type="submit" disabled={!good}>
              Show
            </button>
          </div>
        </form>
      </dialog>
    </>
  );
}

function Settings({ me }: { me: Me }) {
  const theme = useTheme();
  const zone = useZone();
  const letters = shortcuts.use();
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const away = (event: Event) => {
      const box = details.current;
      if (box?.open && !(event.target instanceof Node && box.contains(event.target))) box.open = false;
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, []);
  return (
    <details
      className="settings"
      ref={details}
      onKeyDown={e => {
        if (e.key !== "Escape" || !details.current?.open) return;
        details.current.open = false;
        details.current.querySelector("summary")?.focus();
      }}
    >
      <summary>
        <span className="visually-hidden">Settings of </span>
        {me.name}
      </summary>
      <div className="settings-box">
        <p className="soft">
          {me.roles.length > 0 ? me.roles.join(", ") : me.scopes.join(", ")}
          {me.session_ends && <>, until {when(me.session_ends, "short", zone)}</>}
        </p>
        <fieldset className="choices">
          <legend>Theme</legend>
          {(["system", "light", "dark"] as Theme[]).map(t => (
            <label key={t}>
              <input type="radio" name="theme" checked={theme === t} onChange={() => setTheme(t)} />
              <span>{t}</span>
            </label>
          ))}
        </fieldset>
        <fieldset className="choices">
          <legend>Times</legend>
          <label>
            <input type="radio" name="zone" checked={zone === "local"} onChange={() => setZone("local")} />
            <span>{zoneName()}</span>
          </label>
          <label>
            <input type="radio" name="zone" checked={zone === "utc"} onChange={() => setZone("utc")} />
            <span>UTC</span>
          </label>
        </fieldset>
        <fieldset className="choices">
          <legend>Single letters as commands</legend>
          {(["on", "off"] as const).map(value => (
            <label key={value}>
              <input type="radio" name="shortcuts" checked={letters === value} onChange={() => shortcuts.set(value)} />
              <span>{value}</span>
            </label>
          ))}
        </fieldset>
        <form method="post" action="/logout" onSubmit={forget}>
          <button type="submit" className="quiet">
            Sign out
          </button>
        </form>
      </div>
    </details>
  );
}
