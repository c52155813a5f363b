import { z } from "zod"
import { AgentParams, define, MIB, RawBody, Time } from "./common.ts"

export const MAX_FILE_BYTES = 25 * MIB
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
      "A file's bytes, with `ETag` and `Range`; for a folder, or the empty path, its entries as JSON. Opens no sandbox.",
    params: FileParams,
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
