import { setting } from "../setting";

/** shortcuts says whether single letters are commands. Who speaks to the computer may have to turn them off (WCAG 2.1.4). */
export const shortcuts = setting("shortcuts", ["on", "off"]);
