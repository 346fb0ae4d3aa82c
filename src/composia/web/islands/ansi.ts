// What programs colour for terminals, as text and spans with classes: never markup, never a style.
// Whatever else steers a terminal is dropped; the text between stays.

/** CSI, with its numbers and what it is; strings for windows and devices; two or three letters. */
const SEQUENCE =
  /\n|(?:\u001b\[|\u009b)([0-?]*)[ -/]*([@-~])|\u001b[\]PX^_][^\u0007\u001b\n]*(?:\u0007|\u001b\\)|\u001b[ -/]*[0-~]/g;
const NUMBERS = /^[\d;:]*$/;
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
/** Would turn the reading direction of everything after them. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;
/** So many of the newest sequences are drawn: each costs an element. */
const MOST = 5_000;

/** By their numbers; white is the page's own ink, as most terminals have it. */
const HUES = ["grey", "red", "green", "yellow", "blue", "magenta", "cyan", ""];
const PAPERS = ["", "red", "green", "yellow", "blue", "magenta", "cyan", "plain"];
const ON: Record<number, string> = {
  1: "bold",
  2: "faint",
  3: "italic",
  4: "underlined",
  7: "reversed",
  9: "struck",
  21: "underlined",
};
const OFF: Record<number, string[]> = {
  22: ["bold", "faint"],
  23: ["italic"],
  24: ["underlined"],
  27: ["reversed"],
  29: ["struck"],
};

interface Look {
  marks: Set<string>;
  ink: string;
  paper: string;
}

/** Each line begins plain: what one left open colours no other, of whichever container. */
export function painted(text: string): DocumentFragment {
  const drawn = document.createDocumentFragment();
  let look = plain();
  let classes = "";
  let worn = "";
  let run = "";
  let at = 0;
  const from = colouredFrom(text);

  for (const found of text.matchAll(SEQUENCE)) {
    add(text.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[0] === "\n") {
      look = plain();
      classes = "";
      add("\n");
    } else if (found[2] === "m" && NUMBERS.test(found[1] ?? "")) {
      change(look, found[1] ?? "");
      classes = found.index >= from ? classesOf(look) : "";
    }
  }
  add(text.slice(at));
  flush();
  return drawn;

  function add(piece: string): void {
    if (!piece) return;
    if (classes !== worn) flush();
    worn = classes;
    run += piece;
  }

  function flush(): void {
    if (!run) return;
    const shown = document.createTextNode(run.replace(UNSEEN, "·").replace(TURNS, "·"));
    run = "";
    if (!worn) return void drawn.append(shown);
    const span = document.createElement("span");
    span.className = worn;
    span.append(shown);
    drawn.append(span);
  }
}

/** Where the first line begins whose colours are drawn. */
function colouredFrom(text: string): number {
  let at = text.length;
  for (let count = 0; at > 0 && count < MOST; count += 1) at = text.lastIndexOf("\u001b", at - 1);
  return at > 0 ? text.indexOf("\n", at) + 1 : 0;
}

function plain(): Look {
  return { marks: new Set(), ink: "", paper: "" };
}

function change(look: Look, numbers: string): void {
  const codes = numbers.split(";");
  while (codes.length) {
    const [first, ...parts] = (codes.shift() ?? "").split(":");
    const code = Number(first);
    const mark = ON[code];
    if (code === 0) Object.assign(look, plain());
    else if (mark && parts[0] !== "0") look.marks.add(mark);
    else if (mark || OFF[code]) (OFF[code] ?? [mark]).forEach((one) => look.marks.delete(one ?? ""));
    else if (code === 38 || code === 48) {
      const found = colour(parts.length ? parts.filter(Boolean) : codes);
      if (code === 38) look.ink = HUES[found] ?? "";
      else look.paper = PAPERS[found] ?? "";
    } else setOne(look, code);
  }
}

function setOne(look: Look, code: number): void {
  const number = code % 10;
  const tens = code - number;
  if (tens === 30 || tens === 90) look.ink = HUES[number] ?? "";
  if (tens === 40 || tens === 100) look.paper = code === 100 ? "grey" : (PAPERS[number] ?? "");
}

/** The hue that is nearest to one of 256, or of 16 million: its number; the codes are used up. */
function colour(codes: string[]): number {
  const mode = codes.shift();
  if (mode === "2") return nearest(codes.splice(0, 3).map(Number));
  const index = mode === "5" ? Number(codes.shift()) : 7;
  if (index < 16) return index % 8;
  if (index >= 232) return index < 244 ? 0 : 7;
  const place = index - 16;
  return nearest([Math.floor(place / 36), Math.floor(place / 6) % 6, place % 6].map((n) => n * 51));
}

/** A terminal's numbers are bits: red, green, blue. */
function nearest(rgb: number[]): number {
  const most = Math.max(...rgb);
  const least = Math.min(...rgb);
  if (most - least < most / 4) return most < 128 ? 0 : 7;
  return rgb.reduce((sum, one, place) => sum + (one > (most + least) / 2 ? 1 << place : 0), 0);
}

/** On a coloured paper the ink is always the page's: no pair of a program's own can be unreadable. */
function classesOf({ marks, ink, paper }: Look): string {
  const under = marks.has("reversed") ? ink || "plain" : paper;
  const over = marks.has("reversed") ? paper : ink;
  const found = [...marks].filter((one) => one !== "reversed" && !(one === "faint" && (over || under)));
  if (under) found.push(`on-${under}`);
  else if (over) found.push(`ink-${over}`);
  return found.join(" ");
}
