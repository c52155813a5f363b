import { queryOptions } from "@tanstack/react-query"
import { api } from "../api.ts"

export interface Entry {
  name: string
  type: "file" | "directory" | "symlink" | "other"
  size: number
  modified_at: string
}

/** A folder's entries, folders first. */
export const folderQuery = (user: string, agent: string, path: string) =>
  queryOptions({
    queryKey: ["folder", user, agent, path],
    queryFn: async ({ signal }) => {
      const entries: Entry[] = []
      for (let cursor: string | undefined; ; ) {
        const response = await api.files.read({ user, agent, path, ...(cursor ? { cursor } : {}) }, { signal })
        const page: { entries: Entry[]; next_cursor?: string } = await response.json()
        for (const entry of page.entries) entries.push(entry)
        cursor = page.next_cursor
        if (cursor === undefined) break
      }
      const rank = (e: Entry) => (e.type === "directory" ? 0 : 1)
      return entries.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name))
    },
  })

/** Larger files are offered for download alone. */
export const PREVIEW_BYTES = 512 * 1024

const TEXT = /^(text\/|application\/(json|xml|javascript|x-sh|toml|yaml))/
const IMAGE = /\.(png|jpe?g|gif|webp|avif)$/i

export type Opened =
  | { kind: "text"; text: string; etag: string | null; size: number }
  | { kind: "image"; size: number }
  | { kind: "folder" }
  | { kind: "binary"; size: number }

export const fileQuery = (user: string, agent: string, path: string) =>
  queryOptions({
    queryKey: ["file", user, agent, path],
    staleTime: 0,
    refetchOnWindowFocus: false,
    queryFn: async ({ signal }): Promise<Opened> => {
      const range = { Range: `bytes=0-${PREVIEW_BYTES}` }
      const response = await api.files
        .read({ user, agent, path }, { signal, headers: range })
        .catch((error: unknown) => {
          // An empty file has no first byte.
          if (error instanceof Error && "status" in error && error.status === 416) return null
          throw error
        })
      if (response === null) return { kind: "text", text: "", etag: null, size: 0 }
      const type = response.headers.get("content-type") ?? ""
      const whole = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1]
      const size = Number(whole ?? response.headers.get("content-length") ?? 0)
      const etag = response.headers.get("etag")
      if (etag === null && type.startsWith("application/json")) {
        const body: unknown = await response.json().catch(() => null)
        if (typeof body === "object" && body !== null && "entries" in body) return { kind: "folder" }
      }
      if (IMAGE.test(path)) return { kind: "image", size }
      if (size > PREVIEW_BYTES) return { kind: "binary", size }
      const data = new Uint8Array(await response.arrayBuffer())
      if (!TEXT.test(type) && data.includes(0)) return { kind: "binary", size: data.length }
      try {
        const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data)
        return { kind: "text", text, etag, size: data.length }
      } catch {
        return { kind: "binary", size: data.length }
      }
    },
  })
