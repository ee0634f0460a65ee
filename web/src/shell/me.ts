import { createContext, useContext } from "react";
import type { Schemas } from "../api/client";

export type Me = Schemas["Me"];

export const MeContext = createContext<Me | undefined>(undefined);

/** useMe is who is signed in. Views are shown to nobody else. */
export function useMe(): Me {
  const me = useContext(MeContext);
  if (!me) throw new Error("useMe is for views inside the shell");
  return me;
}

/** useMay tells whether the viewer has a scope. */
export function useMay(scope: string): boolean {
  return useMe().scopes.includes(scope);
}
