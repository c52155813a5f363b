import { defineConfig } from "vite"

/** `npm run dev` sends what is not a page to a server of its own. */
const API = process.env.AUTONOMIS_DEV_API ?? "http://127.0.0.1:8800"

export default defineConfig({
  root: import.meta.dirname,
  server: { proxy: { "/api": API, "/docs": API } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "es2023",
    // Browsers with `light-dark()`: it is kept as it is written.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // A data: address would need a wider policy than the files themselves.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      onLog(level, log, handler) {
        // "use client" is for servers that render, which this is not.
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") handler(level, log)
      },
    },
  },
})
