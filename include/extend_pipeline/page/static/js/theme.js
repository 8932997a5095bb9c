/**
 * Light or dark, as Airflow is.
 *
 * Airflow's UI (3.3) keeps the choice in localStorage under "theme" (light, dark or system), and shows the outcome as
 * the class "light" or "dark" of its <html>. The page is in a frame of the same origin, so it reads that class. Where
 * it is opened by itself, it reads the choice.
 */

const KEY = "theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

/** Take Airflow's colours now, and whenever they change. */
export function followAirflow() {
  const airflow = airflowDocument();
  const apply = () => {
    document.documentElement.dataset.theme = themeOf(airflow);
  };
  apply();
  if (airflow) new MutationObserver(apply).observe(airflow, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", apply);
  window.addEventListener("storage", (event) => event.key === KEY && apply());
}

function airflowDocument() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null; // in a frame of another origin
  }
}

function themeOf(airflow) {
  for (const theme of ["dark", "light"]) if (airflow?.classList.contains(theme)) return theme;
  const chosen = stored();
  if (chosen === "dark" || chosen === "light") return chosen;
  return system.matches ? "dark" : "light";
}

function stored() {
  try {
    return window.localStorage.getItem(KEY);
  } catch {
    return null; // the browser keeps nothing for this site
  }
}
