import { useEffect } from "react";

/** SignIn is all that a stranger sees. Its form is one of HTML's own: the token goes to the server and nowhere else. */
export function SignIn() {
  useEffect(() => {
    document.title = "Sign in · countersign";
  }, []);
  return (
    <main className="sign-in">
      <img src="/icon.svg" alt="" width="40" height="40" />
      <h1>countersign</h1>
      <p>Open the one-time link that countersign printed when it started, or sign in with a token.</p>
      <form method="post" action="/login">
        <label className="field">
          <span>Token</span>
          <input name="token" type="password" autoComplete="current-password" required maxLength={512} />
        </label>
        <button type="submit">Sign in</button>
      </form>
    </main>
  );
}
