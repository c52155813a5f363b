import { build } from "vite"

/** Builds the dashboard into `dashboard/dist`. */
export async function buildDashboard(): Promise<void> {
  await build({ root: import.meta.dirname, configFile: `${import.meta.dirname}/vite.config.ts`, logLevel: "warn" })
}

if (process.argv[1] === import.meta.filename) await buildDashboard()
