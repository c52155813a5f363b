import { writeFileSync } from "node:fs"
import { availableParallelism, cpus, loadavg, totalmem } from "node:os"
import { fileURLToPath } from "node:url"
import { holds, type Row, table } from "./rows.ts"

// npm run bench [-- names] [-- --write]: every line has a median or a ratio, its limit, and whether that holds.
const SECTIONS: Record<string, () => Promise<Row[]>> = {
  start: async () => (await import("./start.ts")).benchStart(),
  chat: async () => (await import("./chat.ts")).benchChat(),
  history: async () => (await import("./history.ts")).benchHistory(),
  idle: async () => (await import("./idle.ts")).benchIdle(),
  hostile: async () => (await import("./hostile.ts")).benchHostile(),
  api: async () => (await import("./api.ts")).benchApi(),
  sandbox: async () => (await import("./sandbox.ts")).benchSandbox(),
  neighbours: async () => (await import("./neighbours.ts")).benchNeighbours(),
  dashboard: async () => (await import("./dashboard.ts")).benchDashboard(),
  skills: async () => (await import("./skills.ts")).benchSkills(),
}

const args = process.argv.slice(2)
const chosen = args.filter((arg) => !arg.startsWith("--"))
const rows: Row[] = []
// A machine that does other work as well makes every time longer; who reads the figures must know.
const otherWork = (loadavg()[0] ?? 0).toFixed(1)
for (const [name, run] of Object.entries(SECTIONS)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  console.error(`${name} …`)
  rows.push(...(await run()))
}
console.log(table(rows))

if (args.includes("--write")) {
  const page = `# Benchmarks

Made by \`npm run bench -- --write\` on ${new Date().toISOString().slice(0, 10)}: ${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}; load average before: ${otherWork}.
The provider is a double that answers at once; what is compared is run in turn, round by round. A line is "over" where its limit does not hold.

${table(rows)}
`
  writeFileSync(fileURLToPath(new URL("../../docs/benchmarks.md", import.meta.url)), page)
}
if (!rows.every(holds)) process.exitCode = 1
