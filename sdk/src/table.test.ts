import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { test } from "node:test"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { tableSource } from "../generate.ts"
import { TABLE } from "./table.ts"

// The formatter may break long lines; nothing else may differ.
const squeeze = (text: string) => text.replace(/[\s,"]+/g, "")

test("the client's table is what the contract makes", async () => {
  const committed = await readFile(new URL("./table.ts", import.meta.url), "utf8")
  assert.equal(squeeze(committed), squeeze(tableSource()), "run: node sdk/generate.ts")
})

test("every endpoint has a method of its own", () => {
  const methods = Object.entries(TABLE).flatMap(([group, rows]) => Object.keys(rows).map((name) => `${group}.${name}`))
  assert.deepEqual(methods.sort(), ENDPOINTS.map((e) => e.id).sort())
})
