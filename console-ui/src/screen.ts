import { effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const query = matchMedia("(max-width: 760px)");
const narrow = signal(query.matches);
query.addEventListener("change", () => (narrow.value = query.matches));
/** Where rows take two lines. */
export const isNarrow: ReadonlySignal<boolean> = narrow;

export const theme: Signal<Theme> = signal(remembered());

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(prefersDark.matches);
prefersDark.addEventListener("change", () => (systemDark.value = prefersDark.matches));

/** Canvas has no light-dark(): what is drawn there asks here. */
export function isDark(): boolean {
  return theme.value === "dark" || (theme.value === "system" && systemDark.value);
}

effect(() => {
  const chosen = theme.value;
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  try {
    localStorage.setItem("holdfast-theme", chosen);
  } catch (error) {
    console.info("the theme is not remembered:", error);
  }
});

function remembered(): Theme {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === "dark" || chosen === "light" ? chosen : "system";
}
