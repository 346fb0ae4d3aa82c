// Ctrl-K or /: go anywhere, start anything, without the mouse.
interface Entry {
  label: string;
  hint: string;
  href: string;
}

let entries: Entry[] = [];
let shown: Entry[] = [];
let chosen = 0;
/** Whoever presses Enter before the entries are here means the first of them. */
let loaded = Promise.resolve();

export function openPalette(): void {
  const dialog = document.querySelector<HTMLDialogElement>("#palette");
  const input = dialog?.querySelector("input");
  const list = dialog?.querySelector("ul");
  if (!dialog || !input || !list) return;

  document.addEventListener("keydown", (event) => {
    // The editor's own field: at the document the event is its host's.
    const pressed = event.composedPath()[0] as HTMLElement;
    const typing = pressed.closest("input, textarea, select, [contenteditable]");
    const asked = (event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing);
    if (!asked || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("click", (event) => {
    if ((event.target as HTMLElement).closest("[data-palette]")) open();
  });
  input.addEventListener("input", () => show(input.value));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      choose((chosen + step + shown.length) % Math.max(1, shown.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      void loaded.then(() => go(chosen));
    }
  });
  list.addEventListener("click", (event) => {
    const row = (event.target as HTMLElement).closest("li");
    if (row) go([...list.children].indexOf(row));
  });

  function open(): void {
    input!.value = "";
    show("");
    dialog!.showModal();
    loaded = load();
  }

  async function load(): Promise<void> {
    const answer = await fetch("/palette", { cache: "no-store" }).catch(() => null);
    if (answer?.ok) entries = (await answer.json()) as Entry[];
    show(input!.value);
  }

  function show(wanted: string): void {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    shown = entries.filter(({ label }) => words.every((word) => label.toLowerCase().includes(word)));
    shown = shown.slice(0, 50);
    list!.replaceChildren(...shown.map(row));
    choose(0);
  }

  function choose(place: number): void {
    chosen = place;
    [...list!.children].forEach((row, at) => row.setAttribute("aria-selected", String(at === place)));
    const row = list!.children[place];
    row?.scrollIntoView({ block: "nearest" });
    input!.setAttribute("aria-activedescendant", row?.id ?? "");
  }

  function go(place: number): void {
    const found = shown[place];
    if (!found || !dialog!.open) return;
    dialog!.close();
    location.href = found.href;
  }
}

function row({ label, hint }: Entry, place: number): HTMLLIElement {
  const made = document.createElement("li");
  made.id = `palette-${place}`;
  made.setAttribute("role", "option");
  const name = document.createElement("bdi");
  name.textContent = label;
  const small = document.createElement("small");
  small.textContent = hint;
  made.append(name, small);
  return made;
}
