// Dialogs come from the server, or lie in the page; the browser's own <dialog> does the rest.
export function openDialogs(): void {
  document.addEventListener("click", (event) => {
    const pressed = event.target as HTMLElement;
    const opens = pressed.closest<HTMLElement>("[data-opens]")?.dataset.opens;
    if (opens) dialog(opens)?.showModal();
    if (pressed.closest("[data-closes]")) pressed.closest("dialog")?.close();
    if (pressed instanceof HTMLDialogElement && outside(pressed, event)) pressed.close();
  });
  document.addEventListener("htmx:after:swap", showNew);
  showNew();
}

function showNew(): void {
  for (const fresh of document.querySelectorAll<HTMLDialogElement>("dialog[data-open]")) {
    delete fresh.dataset.open;
    fresh.showModal();
    fresh.addEventListener("close", () => fresh.remove());
  }
}

function dialog(id: string): HTMLDialogElement | null {
  return document.getElementById(id) as HTMLDialogElement | null;
}

function outside(shown: HTMLDialogElement, event: MouseEvent): boolean {
  const box = shown.getBoundingClientRect();
  const { clientX: x, clientY: y } = event;
  return x < box.left || x > box.right || y < box.top || y > box.bottom;
}
