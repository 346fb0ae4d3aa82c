// A file's editor: the textarea of the form, with colours, line numbers, and what is wrong with it
// while it is typed. It lives in a shadow root: there the editor's styles need no <style> element,
// which the Content-Security-Policy would refuse.
import { history, historyKeymap, standardKeymap } from "@codemirror/commands";
import { HighlightStyle, indentUnit, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { yaml } from "@codemirror/legacy-modes/mode/yaml";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, type DecorationSet, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

interface Fault {
  line: number;
  column: number;
  text: string;
}

interface Draft {
  content: string;
  revision: string;
  at: number;
}

/** Milliseconds without a key before it is checked. */
const PAUSE = 300;

export function start(form: HTMLElement): void {
  const area = form.querySelector("textarea")!;
  const revision = form.querySelector<HTMLInputElement>("[name=revision]")!;
  const faults = form.querySelector<HTMLElement>(".faults")!;
  const unsaved = form.querySelector<HTMLElement>("[data-unsaved]");
  const key = `draft:${form.dataset.draft ?? ""}`;
  const committed = area.defaultValue;
  const typing = document.activeElement === area;
  takeBackDraft();
  // Whoever types already goes on, where they are.
  if (!sessionStorage.getItem(key)) keepDraft(area.value);
  const { selectionStart: anchor, selectionEnd: head } = area;

  const host = document.createElement("div");
  host.className = "editor-host";
  const root = host.attachShadow({ mode: "open" });
  area.hidden = true;
  area.after(host);
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: area.value,
      selection: typing ? { anchor, head } : undefined,
      extensions: extensions(),
    }),
  });

  if (typing) view.focus();

  let waiting = 0;
  let checking: AbortController | null = null;
  tell(area.value !== committed);
  if ("yaml" in form.dataset) void check();

  function extensions() {
    return [
      lineNumbers(),
      history(),
      highlightActiveLine(),
      indentUnit.of("  "),
      EditorView.lineWrapping,
      EditorState.readOnly.of(area.readOnly),
      EditorView.contentAttributes.of({
        "aria-label": document.getElementById("file-title")?.textContent ?? "File",
        spellcheck: "false",
      }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) changed(update.state.doc.toString());
      }),
      ...("yaml" in form.dataset ? [StreamLanguage.define(yaml), marked] : []),
      EditorView.domEventHandlers({ beforeinput: replace }),
      syntaxHighlighting(COLOURS),
      LOOK,
      // Tab leaves the editor, as it leaves every other field.
      keymap.of([...standardKeymap, ...historyKeymap]),
    ];
  }

  function changed(text: string): void {
    area.value = text;
    keepDraft(text);
    tell(text !== committed);
    if (!("yaml" in form.dataset)) return;
    clearTimeout(waiting);
    waiting = window.setTimeout(() => void check(), PAUSE);
  }

  async function check(): Promise<void> {
    checking?.abort();
    checking = new AbortController();
    const text = area.value;
    const answer = await fetch(form.dataset.check ?? "", {
      method: "POST",
      headers: {
        "HX-Request": "true",
        "X-Composia-Form": document.querySelector<HTMLMetaElement>("meta[name=form-token]")?.content ?? "",
      },
      body: new URLSearchParams(new FormData(form as HTMLFormElement) as unknown as Record<string, string>),
      signal: checking.signal,
    }).catch(() => null);
    const found = answer?.ok ? ((await answer.json().catch(() => null)) as Fault[] | null) : null;
    if (found && text === area.value) show(found);
  }

  function show(found: Fault[]): void {
    view.dispatch({ effects: mark.of(Decoration.set(found.flatMap(marks), true)) });
    const list = document.createElement("ul");
    list.append(...found.map(row));
    faults.replaceChildren(...(found.length ? [list] : []));
  }

  function marks({ line, column, text }: Fault) {
    const { doc } = view.state;
    const at = doc.line(Math.min(Math.max(line, 1), doc.lines));
    const from = Math.min(at.from + column - 1, at.to);
    const word = /^[^\s:]+/.exec(doc.sliceString(from, at.to))?.[0].length ?? 0;
    const under = Decoration.mark({ class: "fault", attributes: { title: text } });
    return [
      Decoration.line({ class: "faulty" }).range(at.from),
      ...(word ? [under.range(from, from + word)] : []),
    ];
  }

  function row({ line, text }: Fault): HTMLLIElement {
    const made = document.createElement("li");
    const place = document.createElement("button");
    place.type = "button";
    place.textContent = `Line ${line}`;
    place.addEventListener("click", () => {
      const at = view.state.doc.line(Math.min(line, view.state.doc.lines));
      view.dispatch({ selection: { anchor: at.from }, scrollIntoView: true });
      view.focus();
    });
    const said = document.createElement("span");
    said.className = "name";
    said.append(...text.split("`").map((part, at) => (at % 2 ? code(part) : part)));
    made.append(place, " ", said);
    return made;
  }

  // What was typed outlives a session that ends, a reload, and a step back.
  function keepDraft(content: string): void {
    if (content === committed) return sessionStorage.removeItem(key);
    const draft: Draft = { content, revision: revision.value, at: Date.now() };
    sessionStorage.setItem(key, JSON.stringify(draft));
  }

  function takeBackDraft(): void {
    const kept = sessionStorage.getItem(key);
    const draft = kept ? (JSON.parse(kept) as Draft) : null;
    if (!draft || draft.content === committed || area.readOnly) return sessionStorage.removeItem(key);
    area.value = draft.content;
    revision.value = draft.revision;
    const said = form.querySelector<HTMLElement>(".kept")!;
    said.querySelector("time")!.textContent = new Date(draft.at).toLocaleTimeString();
    said.hidden = false;
    said.querySelector("[data-discards]")!.addEventListener("click", () => {
      sessionStorage.removeItem(key);
      location.reload();
    });
  }

  function tell(now: boolean): void {
    if (unsaved) unsaved.hidden = !now;
  }
}

/** Typing over a selection: the browser would do it with a style of its own, which is refused. */
function replace(event: InputEvent, view: EditorView): boolean {
  const { state } = view;
  const typed = event.inputType === "insertText" && !event.isComposing && event.data;
  if (!typed || state.selection.main.empty || state.readOnly) return false;
  event.preventDefault();
  view.dispatch(state.replaceSelection(typed), { userEvent: "input.type", scrollIntoView: true });
  return true;
}

function code(text: string): HTMLElement {
  const made = document.createElement("code");
  made.textContent = text;
  return made;
}

/** What is wrong, where it stands; it moves with the text until the next check. */
const mark = StateEffect.define<DecorationSet>();
const marked = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update: (before, change) =>
    change.effects.find((effect) => effect.is(mark))?.value ?? before.map(change.changes),
  provide: (field) => EditorView.decorations.from(field),
});

const COLOURS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--busy)" },
  { tag: [tags.string, tags.special(tags.string), tags.content], color: "var(--good)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword, tags.labelName], color: "var(--warn)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--muted-foreground)", fontStyle: "italic" },
  { tag: [tags.separator, tags.punctuation, tags.meta], color: "var(--muted-foreground)" },
]);

const LOOK = EditorView.theme({
  "&": { color: "var(--foreground)", backgroundColor: "transparent", fontSize: "13px", maxHeight: "65vh", minHeight: "16rem" },
  "&.cm-focused": { outline: "2px solid var(--ring)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: 'ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace', lineHeight: "1.6", overflow: "auto" },
  ".cm-content": { caretColor: "var(--foreground)", padding: "10px 0" },
  ".cm-cursor": { borderLeftColor: "var(--foreground)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted-foreground)", border: "none" },
  ".cm-activeLine": { backgroundColor: "color-mix(in oklab, var(--accent) 45%, transparent)" },
  ".cm-selectionBackground, &.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground": {
    backgroundColor: "color-mix(in oklab, var(--primary) 30%, transparent)",
  },
  ".fault": { textDecoration: "underline wavy var(--bad)", textUnderlineOffset: "3px" },
  ".faulty": { backgroundColor: "var(--bad-soft)" },
});
