// The pages' one script: everything small is in it, what few pages need is loaded by them.
import "./app.css";
import htmx from "htmx.org";
import { openDialogs } from "./dialogs";
import { listen } from "./live";
import { openPalette } from "./palette";
import { showToasts } from "./toasts";
import { keepTimes } from "./times";
import { switchTheme } from "./switch";

const formToken = document.querySelector<HTMLMetaElement>("meta[name=form-token]")?.content;

document.addEventListener("htmx:config:request", (event) => {
  const { ctx } = (event as CustomEvent).detail;
  if (formToken) ctx.request.headers["X-Composia-Form"] = formToken;
});

openDialogs();
openPalette();
showToasts();
keepTimes();
switchTheme();
if (formToken) listen(htmx);

/** Start what an element asks for with `data-island`; each is loaded when it is first met. */
const islands: Record<string, () => Promise<{ start: (element: HTMLElement) => void }>> = {
  log: () => import("./log"),
  editor: () => import("./editor"),
};

function startIslands(below: ParentNode): void {
  for (const element of below.querySelectorAll<HTMLElement>("[data-island]:not([data-started])")) {
    const load = islands[element.dataset.island ?? ""];
    if (!load) continue;
    element.dataset.started = "";
    void load().then(({ start }) => {
      start(element);
      element.dataset.ready = "";
    });
  }
}

startIslands(document);
// Not in a timer of its own, as it would: whoever sees a page that is loaded may press.
htmx.initialize();
document.addEventListener("htmx:after:swap", () => startIslands(document));
