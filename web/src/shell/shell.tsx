import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import {
  isRouteErrorResponse,
  NavLink,
  Outlet,
  useLocation,
  useNavigation,
  useNavigationType,
  useRouteError,
  useSearchParams,
} from "react-router";
import { api, signedOutStore, unwrap } from "../api/client";
import { Answered, ErrorNote, Page } from "../components";
import { groups, type View, views } from "../views";
import { Header } from "./header";
import { type Me, MeContext } from "./me";
import { SignIn } from "./sign-in";
import { keepSpan } from "./span";

/** Shell is what stands around every view, for who is signed in; a stranger gets the sign-in page. */
export function Shell() {
  const signedOut = useSyncExternalStore(signedOutStore.subscribe, signedOutStore.get);
  const me = useQuery<Me, Error>({
    queryKey: ["/v1/me"],
    queryFn: ({ signal }) => unwrap(api.GET("/v1/me", { signal })),
    staleTime: 60_000,
    refetchInterval: query => (query.state.error ? 5_000 : 5 * 60_000),
  });
  if (signedOut) return <SignIn />;
  if (!me.data) {
    return (
      <main className="alone">
        <Answered query={me} loading="Connecting">
          {() => null}
        </Answered>
      </main>
    );
  }
  return (
    <MeContext value={me.data}>
      <Frame me={me.data} />
    </MeContext>
  );
}

function Frame({ me }: { me: Me }) {
  const [open, setOpen] = useState(false);
  const location = useLocation();
  const going = useNavigation().state !== "idle";
  const back = useNavigationType() === "POP";
  const main = useRef<HTMLElement>(null);
  const shown = useRef(location.pathname);

  // Another view: the menu closes, and the focus goes to its title, as a new page's would. Who goes back stays where they
  // were, and a link to a part of a page leads to that part.
  useEffect(() => {
    if (shown.current === location.pathname) return;
    shown.current = location.pathname;
    setOpen(false);
    if (location.hash) return;
    if (!back) scrollTo(0, 0);
    main.current?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
  }, [location.pathname, location.hash, back]);

  // Escape closes the menu of narrow windows, and gives the focus back to its button.
  useEffect(() => {
    if (!open) return;
    const pressed = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      setOpen(false);
      document.querySelector<HTMLElement>("[aria-controls=navigation]")?.focus();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, [open]);

  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <Header me={me} menuOpen={open} onMenu={() => setOpen(!open)} />
      <Navigation me={me} open={open} />
      <main id="main" ref={main} tabIndex={-1} aria-busy={going}>
        <Outlet />
      </main>
      <footer>
        <span>countersign {me.version}</span>
        <a href="/v1/openapi.json">API</a>
        <a href="/licences.txt">Licences</a>
        <span>
          <a href="https://db-ip.com" rel="noopener noreferrer">
            IP Geolocation by DB-IP
          </a>
          , CC BY 4.0. AS numbers: Route Views, NRO and DB-IP, CC BY 4.0, merged by ip-location-db. Map: Natural Earth.
        </span>
      </footer>
    </div>
  );
}

function Navigation({ me, open }: { me: Me; open: boolean }) {
  const [search] = useSearchParams();
  const listed = views.filter(view => view.nav && (!view.scope || me.scopes.includes(view.scope)));
  return (
    <nav id="navigation" className={open ? "open" : undefined} aria-label="Views">
      {groups.map(group => {
        const own = listed.filter(view => view.nav?.group === group);
        return own.length === 0 ? null : (
          <div key={group} className="nav-group">
            <h2>{group}</h2>
            <ul>
              {own.map(view => (
                <Item key={view.path} view={view} search={keepSpan(search)} />
              ))}
            </ul>
          </div>
        );
      })}
    </nav>
  );
}

function Item({ view, search }: { view: View; search: string }) {
  return (
    <li>
      <NavLink to={{ pathname: `/${view.path}`, search }} end={view.path === ""}>
        {view.nav?.label}
      </NavLink>
    </li>
  );
}

/** Broken is shown in place of a view that threw. */
export function Broken() {
  const error = useRouteError();
  const said = isRouteErrorResponse(error) ? new Error(`${error.status} ${error.statusText}`) : error;
  const stale = error instanceof TypeError && /import|module/i.test(error.message);
  return (
    <Page title="This view broke">
      <ErrorNote
        error={stale ? new Error("A part of the page could not be loaded: countersign may have been updated.") : said}
      />
      <p>
        <button type="button" onClick={() => location.reload()}>
          Reload the page
        </button>
      </p>
    </Page>
  );
}
