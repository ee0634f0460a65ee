import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { useLocation } from "react-router";
import { Text } from "../components/text";

/** The ways to sign in besides a token; GET /login/ways is for everybody. */
interface Ways {
  oidc: boolean;
  label?: string;
}

async function ask({ signal }: { signal: AbortSignal }): Promise<Ways> {
  const answer = await fetch("/login/ways", { signal, headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`the ways to sign in: ${answer.status}`);
  return answer.json();
}

/** SignIn is all that a stranger sees. Its form is one of HTML's own: the token goes to the server and nowhere else. */
export function SignIn() {
  const ways = useQuery({ queryKey: ["/login/ways"], queryFn: ask, staleTime: 60_000 });
  const { pathname, search } = useLocation();
  useEffect(() => {
    document.title = "Sign in · countersign";
  }, []);
  return (
    <main className="sign-in">
      <img src="/icon.svg" alt="" width="40" height="40" />
      <h1>countersign</h1>
      {ways.data?.oidc && (
        <>
          <a className="button-link" href={`/oidc/login?return=${encodeURIComponent(pathname + search)}`}>
            {ways.data.label ? <Text value={ways.data.label} limit={60} /> : "Sign in with your organisation"}
          </a>
          <p className="or">or with a token of the API</p>
        </>
      )}
      {!ways.data?.oidc && (
        <p>
          Sign in with a token, or with the one-time link that <code>countersign up</code> prints when it starts.
        </p>
      )}
      <form method="post" action="/login">
        <input name="return" type="hidden" value={pathname + search} />
        <label className="field">
          <span>Token</span>
          <input name="token" type="password" autoComplete="current-password" required maxLength={512} />
        </label>
        <button type="submit">Sign in</button>
      </form>
    </main>
  );
}
