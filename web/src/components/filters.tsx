import { type ReactNode, useEffect, useId, useState } from "react";
import { useSearch } from "../shell/search";

/** useFilter is one filter that lives in the query string; "" is none. */
export function useFilter(name: string): [string, (value: string) => void] {
  const [search, change] = useSearch();
  const kept = search.get(name) ?? "";
  // The address follows in a moment; what was clicked shows at once.
  const [value, setValue] = useState(kept);
  useEffect(() => setValue(kept), [kept]);
  return [
    value,
    next => {
      setValue(next);
      change(
        all => {
          if (next) all.set(name, next);
          else all.delete(name);
        },
        { replace: true, preventScrollReset: true },
      );
    },
  ];
}

/** Filters is the row of a list's filters. */
export function Filters({ children, names }: { children: ReactNode /** The filters that "Clear" clears. */; names: string[] }) {
  const [search, change] = useSearch();
  const set = names.some(name => search.get(name));
  return (
    <search className="filters">
      {children}
      {set && (
        <button
          type="button"
          className="quiet"
          onClick={() =>
            change(
              next => {
                for (const name of names) next.delete(name);
              },
              { replace: true },
            )
          }
        >
          Clear filters
        </button>
      )}
    </search>
  );
}

/** Choice filters by one of some values. */
export function Choice({
  name,
  label,
  options,
  any = "any",
}: {
  name: string;
  label: string;
  options: readonly (string | [value: string, shown: string])[];
  any?: string;
}) {
  const [value, setValue] = useFilter(name);
  const all = options.map(o => (typeof o === "string" ? ([o, o.replaceAll("_", " ")] as const) : o));
  const known = value === "" || all.some(([v]) => v === value);
  return (
    <label className="field">
      <span>{label}</span>
      <select aria-label={label} value={value} onChange={e => setValue(e.target.value)}>
        <option value="">{any}</option>
        {all.map(([v, shown]) => (
          <option key={v} value={v}>
            {shown}
          </option>
        ))}
        {!known && <option value={value}>{value.slice(0, 60)}</option>}
      </select>
    </label>
  );
}

/** Choices filters by any of some values, kept as a,b,c. */
export function Choices({
  name,
  label,
  options,
  render,
}: {
  name: string;
  label: string;
  options: readonly string[];
  render?: (o: string) => ReactNode;
}) {
  const [value, setValue] = useFilter(name);
  const chosen = value ? value.split(",") : [];
  return (
    <fieldset className="choices">
      <legend>{label}</legend>
      {options.map(option => (
        <label key={option}>
          <input
            type="checkbox"
            checked={chosen.includes(option)}
            onChange={e => setValue(options.filter(o => (o === option ? e.target.checked : chosen.includes(o))).join(","))}
          />
          <span>{render ? render(option) : option}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Typed filters by a text; it takes hold on Enter or when the field is left. */
export function Typed({
  name,
  label,
  placeholder,
  list,
}: {
  name: string;
  label: string;
  placeholder?: string;
  list?: string[];
}) {
  const [value, setValue] = useFilter(name);
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  const id = useId();
  const commit = () => typed.trim() !== value && setValue(typed.trim());
  return (
    <label className="field">
      <span>{label}</span>
      <input
        type="search"
        value={typed}
        placeholder={placeholder}
        maxLength={256}
        spellCheck={false}
        autoComplete="off"
        list={list ? id : undefined}
        onChange={e => setTyped(e.target.value)}
        onBlur={commit}
        onKeyDown={e => e.key === "Enter" && commit()}
      />
      {list && (
        <datalist id={id}>
          {list.map(o => (
            <option key={o} value={o} />
          ))}
        </datalist>
      )}
    </label>
  );
}
