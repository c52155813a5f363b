import type { TestServer } from "../test/server.ts"

/** Puts a skill of a user's in place: one file of Markdown unless another type is told. */
export const uploadSkill = (
  server: TestServer,
  path: { user: string; skill: string },
  file: string | Buffer,
  { key = server.adminKey, type = "text/markdown" } = {},
): Promise<Response> =>
  fetch(`${server.url}/api/v1/users/${path.user}/skills/${path.skill}/file`, {
    method: "PUT",
    headers: { "X-API-Key": key, "Content-Type": type },
    body: typeof file === "string" ? file : new Uint8Array(file),
  })
