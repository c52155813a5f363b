import { z } from "zod"
import { HandsError } from "../runtime/hands.ts"

/** What a guest may answer, checked: it runs in the tenant's hands. */
export const HelloAnswer = z.object({ protocol: z.int(), pid: z.int() })

const Size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)

export const ExecAnswer = z.object({
  exitCode: z.int().min(0).max(255).nullable(),
  signal: z
    .string()
    .regex(/^SIG[A-Z0-9]{1,12}$/)
    .nullable(),
  timedOut: z.boolean(),
  outputBytes: Size,
  outputFile: z.boolean(),
})
export type ExecAnswer = z.infer<typeof ExecAnswer>

export const ReadAnswer = z.object({ sizeBytes: Size })
export const DoneAnswer = z.object({})

export const StatAnswer = z.object({
  type: z.enum(["file", "directory", "symlink", "other"]),
  sizeBytes: Size,
  modifiedMs: z.number().int().min(-8.64e15).max(8.64e15),
})
export type StatAnswer = z.infer<typeof StatAnswer>

const ListAnswer = z.array(StatAnswer.extend({ name: z.string().min(1).max(1024) })).max(10_000)
export type ListAnswer = z.infer<typeof ListAnswer>

export const FailureAnswer = z.object({
  kind: z.enum([
    "not_found",
    "is_directory",
    "not_directory",
    "permission_denied",
    "too_large",
    "invalid",
    "aborted",
    "timeout",
    "unavailable",
  ]),
  message: z.string().max(8_192),
})

export function parseList(data: Buffer): ListAnswer {
  try {
    return ListAnswer.parse(JSON.parse(data.toString()))
  } catch {
    throw new HandsError("unavailable", "the sandbox gave a list that cannot be read")
  }
}
