import { readFile, writeFile } from "node:fs/promises"
import { contract } from "@autonomis/contract/endpoints.ts"

const TARGET = new URL("./src/table.ts", import.meta.url)

/** The client's table and type, made from the contract: plain data, so that no schema library reaches a browser. */
export function tableSource(): string {
  const groups = new Map<string, { method: string; row: string; type: string }[]>()
  for (const [group, endpoints] of Object.entries(contract)) {
    for (const [name, e] of Object.entries(endpoints)) {
      const [resource = "", method = ""] = e.id.split(".")
      const row = { method: e.method, path: e.path, versioned: e.versioned, sends: e.bodyKind, answers: e.produces }
      const shape =
        e.produces === "sse" ? "Events" : e.produces === "bytes" ? "Bytes" : e.bodyKind === "raw" ? "Upload" : null
      const plain = e.bodyKind === "none" ? "Plain" : e.bodyOptional ? "OptionalBody" : "WithBody"
      const sends = shape === "Events" && e.bodyKind === "json" ? "EventsWithBody" : (shape ?? plain)
      const list = groups.get(resource) ?? []
      list.push({ method, row: JSON.stringify(row), type: `${sends}<C["${group}"]["${name}"]>` })
      groups.set(resource, list)
    }
  }
  const rows = [...groups].map(
    ([g, list]) => `  ${g}: {\n${list.map((l) => `    ${l.method}: ${l.row},`).join("\n")}\n  },`,
  )
  const types = [...groups].map(
    ([g, list]) => `  ${g}: {\n${list.map((l) => `    ${l.method}: ${l.type}`).join("\n")}\n  }`,
  )
  return `// Made by sdk/generate.ts from the contract; a test keeps the two equal.
import type { contract } from "@autonomis/contract/endpoints.ts"
import type { Bytes, Events, EventsWithBody, OptionalBody, Plain, Row, Upload, WithBody } from "./calls.ts"

type C = typeof contract

/** One method for each endpoint, by its id. */
export interface Client {
${types.join("\n")}
}

export const TABLE: Record<string, Record<string, Row>> = {
${rows.join("\n")}
}
`
}

if (process.argv[1] && import.meta.filename === process.argv[1]) {
  const old = await readFile(TARGET, "utf8").catch(() => "")
  const made = tableSource()
  if (old !== made) await writeFile(TARGET, made)
}
