import type { ErrorDetail } from "@autonomis/contract/errors.ts"
import type { z } from "zod"
import { AppError } from "../lib/errors.ts"

const MAX_DETAILS = 20

/** Parses by the schema, or throws 400 with what is wrong where. */
export function parse<T extends z.ZodType>(schema: T, input: unknown, what: string): z.output<T> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const details = result.error.issues.flatMap((issue) => detailsOf(issue, [])).slice(0, MAX_DETAILS)
  const first = details[0]
  const where = first?.path ? `${first.path}: ` : ""
  throw new AppError("invalid_request", `${what} is not valid: ${where}${first?.message ?? "see details"}`, { details })
}

type Issue = z.core.$ZodIssue

/** Of a union's branches the one that came closest speaks, so that the message is about what was meant. */
function detailsOf(issue: Issue, above: readonly PropertyKey[]): ErrorDetail[] {
  const path = [...above, ...issue.path]
  if (issue.code === "invalid_union" && issue.errors.length > 0) {
    const closest = issue.errors.reduce((best, branch) => (distance(branch) < distance(best) ? branch : best))
    return closest.flatMap((inner) => detailsOf(inner, path))
  }
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => ({ path: pathText([...path, key]), message: "unknown field" }))
  return [{ path: pathText(path), message: issue.message }]
}

/** A branch that fails at its root was not meant; unknown fields tell most of the rest. */
function distance(branch: Issue[]): number {
  let sum = 0
  for (const issue of branch) {
    if (issue.path.length === 0 && issue.code === "invalid_type") sum += 1000
    sum += issue.code === "unrecognized_keys" ? 10 * issue.keys.length : 1
  }
  return sum
}

function pathText(path: readonly PropertyKey[]): string {
  let text = ""
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`
    else text += text === "" ? String(part) : `.${String(part)}`
  }
  return text.slice(0, 300)
}
