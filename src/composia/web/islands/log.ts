// A log that follows. Lines are gathered and drawn once a frame, and only the newest are kept:
// ten thousand a second cost one text node each frame.
const KEPT = 400_000;
/** Colours and cursor movements of terminals; the text between them stays. */
const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
/** Would turn the reading direction of everything after them. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

export function start(element: HTMLElement): void {
  const pause = document.querySelector<HTMLElement>(`[data-log-pause="${element.id}"]`);
  let source = follow();
  let gathered = "";
  let asked = false;
  let paused = false;
  let length = 0;

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
      element.textContent = "";
    });
    return opened;
  }

  function gather(text: string): void {
    // Whoever has taken the element out of the page reads it no more.
    if (!element.isConnected) return source.close();
    gathered += `${plain(text)}\n`;
    if (gathered.length > KEPT) gathered = gathered.slice(-KEPT);
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
    element.append(document.createTextNode(gathered));
    length += gathered.length;
    gathered = "";
    while (length > KEPT && element.firstChild && element.childNodes.length > 1) {
      length -= element.firstChild.textContent?.length ?? 0;
      element.firstChild.remove();
    }
    if (follows) element.scrollTop = element.scrollHeight;
  }
}

export function plain(text: string): string {
  return text.replace(ANSI, "").replace(UNSEEN, "·").replace(TURNS, "·");
}
