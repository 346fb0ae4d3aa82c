// A log that follows. Lines are gathered and drawn once a frame, and only the newest are kept:
// ten thousand a second cost what fits into the log, each frame.
import { painted } from "./ansi";

const KEPT = 400_000;
/** Drawn in one frame: the next one goes on. */
const PER_FRAME = 64_000;
/** Pieces of text with a colour each, at most. */
const PIECES = 20_000;

export function start(element: HTMLElement): void {
  const pause = document.querySelector<HTMLElement>(`[data-log-pause="${element.id}"]`);
  let source = follow();
  let gathered = "";
  let asked = false;
  let paused = false;
  let length = 0;
  let pieces = 0;

  addEventListener("pagehide", () => source.close());
  pause?.addEventListener("click", () => {
    // What had ended may run again by now.
    if (!paused && hasEnded()) source = follow();
    else paused = !paused;
    if (!paused) ask();
    say();
  });

  function hasEnded(): boolean {
    return source.readyState === EventSource.CLOSED;
  }

  function say(): void {
    if (pause) pause.textContent = paused ? "Follow" : hasEnded() ? "Follow again" : "Pause";
  }

  function follow(): EventSource {
    const opened = new EventSource(element.dataset.source ?? "");
    opened.addEventListener("log", (event) => gather((event as MessageEvent<string>).data));
    opened.addEventListener("end", () => {
      opened.close();
      say();
    });
    // A stream that begins again begins with the first line.
    opened.addEventListener("begin", () => {
      gathered = "";
      length = 0;
      pieces = 0;
      element.textContent = "";
    });
    return opened;
  }

  function gather(text: string): void {
    // Whoever has taken the element out of the page reads it no more.
    if (!element.isConnected) return source.close();
    gathered += `${text}\n`;
    if (gathered.length > KEPT) gathered = newest(gathered);
    if (!paused) ask();
  }

  function ask(): void {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  }

  function draw(): void {
    asked = false;
    if (paused) return;
    const follows = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    // A block for each frame: what was laid out before is not laid out again.
    const block = document.createElement("div");
    const end = gathered.indexOf("\n", PER_FRAME) + 1 || gathered.length;
    block.append(painted(gathered.slice(0, end)));
    gathered = gathered.slice(end);
    if (gathered) ask();
    element.append(block);
    length += lengthOf(block);
    pieces += block.childNodes.length;
    while (element.firstChild !== block && (length > KEPT || pieces > PIECES)) {
      const oldest = element.firstChild as HTMLElement;
      length -= lengthOf(oldest);
      pieces -= oldest.childNodes.length;
      oldest.remove();
    }
    if (follows) element.scrollTop = element.scrollHeight;
  }
}

function lengthOf(block: HTMLElement): number {
  return block.textContent?.length ?? 0;
}

/** What is kept of it, from the beginning of a line on. */
function newest(text: string): string {
  return text.slice(text.indexOf("\n", text.length - KEPT) + 1);
}
