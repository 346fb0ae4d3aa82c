// "3 minutes ago" grows old with the page.
const SPANS: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, "second"],
  [3600, "minute"],
  [86400, "hour"],
  [86400 * 60, "day"],
];
const SIZES = { second: 1, minute: 60, hour: 3600, day: 86400 } as Record<string, number>;

export function keepTimes(): void {
  setInterval(() => {
    for (const time of document.querySelectorAll<HTMLTimeElement>("time[data-ago]")) {
      const text = ago(Date.parse(time.dateTime), Date.now());
      if (text !== time.textContent) time.textContent = text;
    }
  }, 15_000);
}

export function ago(time: number, now: number): string {
  const seconds = (now - time) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return seconds >= 0 ? "just now" : "in a moment";
  const span = SPANS.find(([limit]) => size < limit);
  if (!span) return new Date(time).toISOString().slice(0, 10);
  const count = Math.max(1, Math.round(size / (SIZES[span[1]] ?? 1)));
  const what = `${count} ${span[1]}${count === 1 ? "" : "s"}`;
  return seconds >= 0 ? `${what} ago` : `in ${what}`;
}
