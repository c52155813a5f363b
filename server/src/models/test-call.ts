import type { Database } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"
import { newId } from "../lib/ids.ts"
import type { Runtime } from "../runtime/client.ts"
import { type CatalogueModel, type Credentials, type ModelTest, TEST_CALL } from "../runtime/protocol.ts"
import { usageIfLost } from "../runtime/usage.ts"
import type { Budgets } from "../usage/usage.ts"

export interface TestCallParts {
  db: Database
  budgets: Budgets
  runtime: Pick<Runtime, "testModel">
  /** The boot that calls. */
  owner: string
}

export interface TestCall {
  userId: string
  model: string
  credentials: Credentials
  /** Undefined: the catalogue does not know the model. */
  price: CatalogueModel["price"] | undefined
}

/** Sums of the usage show these calls under this name, as no agent made them. */
const NO_AGENT = { agentId: "", agentName: "model test" }
const FREE = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }

/** One smallest real call, within the budgets and counted like any other. Errors: 429 `budget_exhausted`. */
export async function testCall(parts: TestCallParts, call: TestCall, signal: AbortSignal): Promise<ModelTest> {
  const { db, budgets, runtime, owner } = parts
  const { userId, model, credentials, price = FREE } = call
  const payer = { ...NO_AGENT, userId, runId: newId("test"), owner }
  const request = { ...TEST_CALL, model, credentialsOwner: credentials.owner, price, isPriceKnown: price !== FREE }
  const { answer, reservation } = await budgets.reserve(payer, request, signal)
  if (!answer.ok) throw new AppError(answer.code, answer.message, answer.extra ? { extra: answer.extra } : {})
  if (reservation === null) throw new Error("a granted call has no reservation")
  if (reservation.unwritten.length > 0) await db.batch(reservation.unwritten)
  // Where the worker ends under way nobody knows whether the provider was reached.
  let usage: ModelTest["usage"] = usageIfLost(request)
  try {
    const result = await runtime.testModel(model, credentials)
    usage = result.usage
    return result
  } finally {
    await db.batch(budgets.settleSteps(reservation, usage))
    budgets.released(userId)
  }
}
