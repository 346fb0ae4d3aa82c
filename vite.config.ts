import tailwindcss from "@tailwindcss/vite";
import { defineConfig } from "vite";

const islands = "src/composia/web/islands";

export default defineConfig({
  base: "/static/",
  publicDir: false,
  plugins: [tailwindcss()],
  build: {
    outDir: process.env.COMPOSIA_PAGES ?? "src/composia/web/static/built",
    emptyOutDir: true,
    manifest: "manifest.json",
    modulePreload: { polyfill: false },
    // A page must work in a browser that is some years old, and none is asked for more than this.
    target: "es2022",
    rollupOptions: {
      input: { main: `${islands}/main.ts`, theme: `${islands}/theme.ts` },
    },
  },
});
