// Short words at the edge: what was refused where nothing else can say it.
const SHOWN = 12_000;

export function showToasts(): void {
  const place = document.getElementById("toasts");
  if (!place) return;
  new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      if (node instanceof HTMLElement) setTimeout(() => node.remove(), SHOWN);
    }
  }).observe(place, { childList: true });
  document.addEventListener("htmx:error", (event) => {
    const source = (event as CustomEvent).detail?.ctx?.sourceElement as HTMLElement | undefined;
    // A region that could not be fetched is fetched again; the banner says why.
    if (!source?.matches("[data-live]")) toast("The controller did not answer.");
  });
}

export function toast(text: string): void {
  const place = document.getElementById("toasts");
  const shown = document.createElement("div");
  shown.className = "note tone-warn";
  shown.setAttribute("role", "status");
  shown.textContent = text;
  place?.append(shown);
}
