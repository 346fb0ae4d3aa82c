// One stream tells what has changed; regions of the page that show it fetch themselves again.
import type Htmx from "htmx.org";

interface Change {
  kind: string;
  service: string | null;
  id: string | null;
}

const QUIET = 25_000;
const PACE = 300;
/** A browser has six connections to a server: a page that nobody sees gives its own back. */
const UNSEEN = 10_000;

const dirty = new Set<HTMLElement>();
let waiting = 0;
let heardAt = Date.now();
let lost = false;

export function listen(htmx: typeof Htmx): void {
  /** Where the telling stood when this page was made. */
  const mark = document.querySelector<HTMLMetaElement>("meta[name=mark]")?.content ?? "";
  let stream = open();
  let hiding = 0;
  // A stream can be dead without anybody having closed it: a laptop that slept, a cable.
  setInterval(() => {
    if (document.hidden) return;
    if (Date.now() - heardAt < QUIET && stream.readyState !== EventSource.CLOSED) return;
    setLost(true);
    stream.close();
    stream = open();
  }, 3_000);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = window.setTimeout(() => stream.close(), UNSEEN);
    } else if (stream.readyState === EventSource.CLOSED) {
      stream = open();
    }
  });
  // What a region gets instead of its page says nothing of it: it stays as it is.
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = (event as CustomEvent).detail;
    const failed = ctx.response.status >= 400 && !ctx.hx.redirect;
    if (failed && ctx.sourceElement.matches("[data-live]")) event.preventDefault();
  });
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => {
    // From the browser's own memory of the page: whatever it shows may be old.
    if (event.persisted) stream = open();
  });

  function open(): EventSource {
    heardAt = Date.now();
    const source = new EventSource(`/live?after=${mark}`);
    source.addEventListener("hello", (event) => {
      const told = JSON.parse((event as MessageEvent<string>).data) as { missed: boolean };
      // What was asked for while the connection was lost may have failed.
      const missed = told.missed || lost;
      heard();
      if (missed) refreshAll();
    });
    source.addEventListener("beat", heard);
    source.addEventListener("change", (event) => {
      heard();
      changed(JSON.parse((event as MessageEvent<string>).data) as Change);
    });
    source.onerror = () => {
      setLost(true);
      if (source.readyState === EventSource.CLOSED) void signedOut();
    };
    return source;
  }

  function heard(): void {
    heardAt = Date.now();
    setLost(false);
  }

  function changed(change: Change): void {
    for (const region of document.querySelectorAll<HTMLElement>("[data-live]")) {
      if (concerns(region, change)) dirty.add(region);
    }
    if (dirty.size && !waiting) waiting = window.setTimeout(refresh, PACE);
  }

  function refreshAll(): void {
    document.querySelectorAll<HTMLElement>("[data-live]").forEach((region) => dirty.add(region));
    refresh();
  }

  function refresh(): void {
    waiting = 0;
    for (const region of dirty) if (region.isConnected) htmx.trigger(region, "live", {}, false);
    dirty.clear();
  }
}

/** `data-live="task backup:my-app node:main"`: kinds, of all or of one service or thing. */
function concerns(region: HTMLElement, change: Change): boolean {
  return (region.dataset.live ?? "").split(" ").some((wanted) => {
    const [kind, which] = wanted.split(":");
    return kind === change.kind && (!which || which === change.service || which === change.id);
  });
}

function setLost(now: boolean): void {
  lost = now;
  const banner = document.getElementById("lost");
  if (banner) banner.hidden = !now;
}

async function signedOut(): Promise<void> {
  const answer = await fetch("/live/session", { cache: "no-store" }).catch(() => null);
  if (answer?.status === 401) {
    location.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  }
}
