// Light or dark: as the machine has it, until somebody chooses.
export function switchTheme(): void {
  const root = document.documentElement;
  document.addEventListener("click", (event) => {
    if (!(event.target as HTMLElement).closest("[data-theme-switch]")) return;
    const dark = root.classList.toggle("dark");
    localStorage.setItem("theme", dark ? "dark" : "light");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (change) => {
    if (!localStorage.getItem("theme")) root.classList.toggle("dark", change.matches);
  });
}
