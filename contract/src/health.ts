import { z } from "zod"
import { define } from "./common.ts"

const Status = z.object({ status: z.literal("ok") }).meta({ id: "Health" })

export const health = {
  root: define("Health", {
    id: "health.root",
    call: "GET /health",
    versioned: false,
    access: "public",
    summary: "Is the server up",
    description: "Answers as soon as the server takes requests. No key is needed.",
    answer: Status,
    example: { response: { status: "ok" } },
  }),
  get: define("Health", {
    id: "health.get",
    call: "GET /health",
    access: "public",
    summary: "Is the server up",
    description: "The same as `/health` at the root.",
    answer: Status,
    example: { response: { status: "ok" } },
  }),
  ready: define("Health", {
    id: "health.ready",
    call: "GET /ready",
    versioned: false,
    access: "public",
    summary: "Should traffic be sent here",
    description: "200 while new work is taken; 503 while the server drains or cannot reach its database.",
    answer: Status,
    errors: ["unavailable"],
    example: { response: { status: "ok" } },
  }),
}
