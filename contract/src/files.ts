import { z } from "zod"
import { AgentParams, define, MIB, Page, RawBody, Time } from "./common.ts"

export const MAX_FILE_BYTES = 25 * MIB
/** A folder is given whole up to here; the rest by its cursor. */
export const MAX_ENTRIES = 20_000
const FileParams = AgentParams.extend({ path: z.string().max(4096) })

export const Folder = z
  .object({
    path: z.string(),
    entries: z.array(
      z.object({
        name: z.string(),
        type: z.enum(["file", "directory", "symlink", "other"]),
        size: z.number().int(),
        modified_at: Time,
      }),
    ),
    next_cursor: z
      .string()
      .optional()
      .meta({ description: "There only when the folder has more entries than are listed: for the next page." }),
  })
  .meta({ id: "Folder" })
export const WrittenFile = z
  .object({ path: z.string(), size: z.number().int(), modified_at: Time, etag: z.string() })
  .meta({ id: "WrittenFile" })

export const files = {
  read: define("Files", {
    id: "files.read",
    call: "GET /A/files/{path*}",
    access: "owner",
    summary: "Read a file from the agent's workspace",
    description:
      "A file's bytes, with `ETag` and `Range`; for a folder, or the empty path, its entries as JSON, in order of their names. A folder comes whole, up to 20,000 entries; when it has more, or more than `limit`, `next_cursor` gives the rest. Opens no sandbox.",
    params: FileParams,
    query: z.strictObject({
      limit: Page.limit
        .unwrap()
        .optional()
        .meta({ description: "Of a folder's entries, how many at most, 1 to 200; else all, up to 20,000." }),
      // It holds a name, of which a control character takes eight letters.
      cursor: z.string().min(1).max(3000).optional().meta({ description: "`next_cursor` of the page before." }),
    }),
    answer: Folder,
    produces: "bytes",
    statuses: [200, 206, 304],
    errors: ["range_not_satisfiable", "sandbox_unavailable", "precondition_failed"],
    example: { params: { path: "notes.txt" } },
  }),
  write: define("Files", {
    id: "files.write",
    call: "PUT /A/files/{path*}",
    access: "owner",
    summary: "Write a file to the agent's workspace",
    description:
      "The raw bytes, 25 MiB at most. Missing folders are made; the file is replaced in one step. `If-Match` and `If-None-Match: *` guard against another's write.",
    params: FileParams,
    body: RawBody,
    bodyKind: "raw",
    maxBodyBytes: MAX_FILE_BYTES,
    answer: WrittenFile,
    statuses: [201, 200],
    errors: ["conflict", "precondition_failed", "plan_limit", "sandbox_unavailable"],
    example: { params: { path: "notes.txt" }, body: "Remember the milk.\n", contentType: "text/plain" },
  }),
  delete: define("Files", {
    id: "files.delete",
    call: "DELETE /A/files/{path*}",
    access: "owner",
    summary: "Delete a file from the workspace",
    description: "A folder that is not empty needs `?recursive=true`. `If-Match` is heeded.",
    params: FileParams,
    query: z.strictObject({ recursive: z.enum(["true", "false"]).optional() }),
    errors: ["conflict", "precondition_failed", "sandbox_unavailable"],
    example: { params: { path: "notes.txt" } },
  }),
}
