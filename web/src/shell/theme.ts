import { setting } from "../setting";

export type Theme = "system" | "light" | "dark";

const theme = setting<Theme>("theme", ["system", "light", "dark"]);

/** applyTheme puts the theme on the document, where the style sheets look for it. */
export function applyTheme(): void {
  document.documentElement.dataset.theme = theme.get();
}

export function setTheme(next: Theme): void {
  theme.set(next);
  applyTheme();
}

export const useTheme = theme.use;
