import assert from "node:assert/strict"
import { test } from "node:test"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { ERROR_STATUS } from "@autonomis/contract/errors.ts"
import { Validator } from "@seriousme/openapi-schema-validator"
import { fullPath } from "../paths.ts"
import { makeOpenApi } from "./openapi.ts"

interface Operation {
  operationId: string
  summary: string
  description: string
  "x-access": string
  security?: unknown[]
  parameters?: { name: string; in: string; example?: unknown }[]
  requestBody?: { required: boolean; content: Record<string, { example?: unknown }> }
  responses: Record<string, { description: string; content?: Record<string, unknown> }>
}

const document = JSON.parse(JSON.stringify(makeOpenApi(ENDPOINTS, "https://agents.example", "1.2.3")))
const operationOf = (endpoint: (typeof ENDPOINTS)[number]): Operation =>
  document.paths[fullPath(endpoint).replace("*}", "}")][endpoint.method.toLowerCase()]

test("the document is valid OpenAPI 3.1", async () => {
  assert.equal(document.openapi, "3.1.0")
  const { valid, errors } = await new Validator().validate(structuredClone(document))
  assert.ok(valid, JSON.stringify(errors))
  await assert.rejects(async () => {
    const broken = structuredClone(document)
    delete broken.info.title
    assert.ok((await new Validator().validate(broken)).valid)
  })
})

test("every endpoint stands in it with words, roles, an example and every status it can give", () => {
  let operations = 0
  for (const item of Object.values(document.paths)) operations += Object.keys(item as object).length
  assert.equal(operations, ENDPOINTS.length)
  for (const endpoint of ENDPOINTS) {
    const operation = operationOf(endpoint)
    const { id } = endpoint
    assert.equal(operation.operationId, id)
    assert.ok(operation.summary.length > 5 && operation.description.length > 15, id)
    assert.match(operation.description, /\*\*Who:\*\* /, id)
    assert.equal(operation["x-access"], endpoint.access)
    if (endpoint.access === "public") assert.deepEqual(operation.security, [], id)

    const statuses = Object.keys(operation.responses).map(Number)
    const expected = [...endpoint.statuses, ...endpoint.errors.map((code) => ERROR_STATUS[code]), 400, 500]
    if (endpoint.access !== "public") expected.push(401, 403, 429)
    if (endpoint.path.includes("{")) expected.push(404)
    if (endpoint.bodyKind !== "none") expected.push(408, 413, 415)
    for (const status of expected) assert.ok(statuses.includes(status), `${id} lacks ${status}`)
    for (const { description } of Object.values(operation.responses)) assert.ok(description.length > 4, id)

    if (endpoint.bodyKind === "json") {
      const json = operation.requestBody?.content["application/json"]
      assert.deepEqual(json?.example, endpoint.example?.body, id)
      assert.equal(operation.requestBody?.required, !endpoint.bodyOptional)
      assert.equal(endpoint.bodyOptional, endpoint.body.safeParse({}).success, `${id}: all optional may be left out`)
    }
    const named = (operation.parameters ?? []).filter((one) => one.in === "path").map((one) => one.name)
    assert.deepEqual(named.sort(), [...endpoint.path.matchAll(/\{(\w+)\*?\}/g)].map(([, name]) => name).sort(), id)
  }
})

test("ids are unique, and every example fits its own schema", () => {
  assert.equal(new Set(ENDPOINTS.map(({ id }) => id)).size, ENDPOINTS.length)
  for (const { id, bodyKind, body, query, example } of ENDPOINTS) {
    if (bodyKind === "json") assert.ok(body.safeParse(example?.body).success, id)
    assert.ok(query.safeParse(example?.query ?? {}).success, id)
  }
})
