import { z } from "zod"
import { ModelId } from "./agents.ts"
import { define, UserParams } from "./common.ts"

export const Model = z
  .object({
    id: z.string(),
    provider: z.string(),
    context_window: z.number().int(),
    price: z.object({ input: z.number(), output: z.number() }).meta({ description: "USD per million tokens." }),
    available: z.boolean().meta({ description: "A chat that names it would be taken now." }),
  })
  .meta({ id: "Model" })
export type Model = z.infer<typeof Model>

export const models = {
  list: define("Agents", {
    id: "models.list",
    call: "GET /U/models",
    access: "owner",
    summary: "List the models",
    description: "Every model of the catalogue, with its price and whether this user can use it now.",
    params: UserParams,
    answer: z.object({ models: z.array(Model) }),
    example: {},
  }),
  test: define("Agents", {
    id: "models.test",
    call: "POST /U/models/test",
    access: "owner",
    summary: "Try a model",
    description: "One smallest real call; says what is wrong when it fails.",
    params: UserParams,
    body: z.strictObject({ model: ModelId }),
    answer: z
      .object({ ok: z.boolean(), error: z.string().optional(), latency_ms: z.number() })
      .meta({ id: "ModelTest" }),
    errors: ["budget_exhausted"],
    example: { body: { model: "demo/demo" } },
  }),
}
